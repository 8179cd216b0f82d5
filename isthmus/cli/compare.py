# SPDX-License-Identifier: Apache-2.0
"""`isthmus compare`: one file through one of our codecs, beside the codecs that everyone has."""

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import CodecName, chosen, codec_command, default_for, encode_options
from isthmus.cli.pipes import is_pipe, readable, tell, writable


def compare(
    context: typer.Context,
    source: Annotated[
        Path | None, typer.Argument(help="An image or a sound; without one, a photograph that ships.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("compare.png"),
    codec: CodecName = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Of sound: write what was decoded as WAV beside the picture.")
    ] = False,
) -> None:
    """Encode, decode, and draw original, reconstruction and difference beside others at the same size.

    Images beside JPEG and WebP, sound beside MP3 and Opus.

    Example: isthmus compare photo.jpg --quality 30 --out look.png

    Example: isthmus compare song.flac --keep
    """
    import isthmus
    from isthmus.bench.compare import compare as draw
    from isthmus.bench.compare import numbers_table
    from isthmus.files import atomic_file
    from isthmus.media import kinds
    from isthmus.samples import ASTRONAUT

    if out.suffix.lower() != ".png" and not is_pipe(out):
        raise ValueError(f"compare: --out {out} must end in .png")
    photo, options = source or ASTRONAUT, chosen(context)
    with writable(out, ".png", source=photo) as place, readable(photo) as readable_photo:
        model: Any = isthmus.load(codec or default_for(readable_photo))
        if model.kind == "audio":
            _compare_sound(model, readable_photo, place, options, photo.name, out if keep else None)
            return
        if model.kind != "image":
            raise ValueError(f"compare: {model.name} encodes {model.kind}; this version draws images and sound only")
        image, _ = kinds.read(readable_photo, model.kind, options)
        result = draw(image, model, options, title=photo.name)
        with atomic_file(place) as file:
            result.sheet.save(file, "PNG")
    tell(numbers_table(result.measurements), out)
    tell(f"written: {out}", out)


def _compare_sound(
    model: Any, source: Path, place: Path, options: dict[str, Any], title: str, beside: Path | None
) -> None:
    from isthmus.bench.compare import aligned
    from isthmus.bench.compare_sound import compare_sound, sound_table
    from isthmus.bench.report import require_matplotlib
    from isthmus.files import atomic_write
    from isthmus.media import audio
    from isthmus.signals import AudioSignal

    require_matplotlib()
    sound, facts = audio.read(source, {})
    try:
        result = compare_sound(sound, facts["sample_rate"], model, options, title=title)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    atomic_write(place, result.png)
    tell(aligned(sound_table(result.measurements)), place)
    tell(f"written: {place}", place)
    if beside is None:
        return
    for name, decoded in result.sounds.items():
        target = beside.with_name(f"{beside.stem}.{Path(name).stem}.wav")
        audio.write(target, decoded, AudioSignal(result.sample_rate, len(decoded), decoded.shape[1]))
        tell(f"written: {target}", place)


def register(app: typer.Typer) -> None:
    """Hangs the command on `app`."""
    app.command(cls=codec_command(encode_options))(compare)
