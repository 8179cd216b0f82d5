# SPDX-License-Identifier: Apache-2.0
"""`isthmus compare`: one file through one of our codecs, beside the codecs that everyone has."""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from isthmus.cli.options import CodecName, chosen, codec_command, default_for, encode_options
from isthmus.cli.pipes import is_pipe, readable, tell, writable
from isthmus.cli.times import seconds

LONGEST = 300  # seconds of sound that are compared: all of it is in memory several times, 3.8 GB of stereo
_TIME = "12s|1:02.5"
Begin = Annotated[
    float | None, typer.Option("--from", parser=seconds, metavar=_TIME, help="Of sound: begin so far into it.")
]
End = Annotated[
    float | None, typer.Option("--to", parser=seconds, metavar=_TIME, help="Of sound: end there, 5 min after --from.")
]


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
    begin: Begin = None,
    end: End = None,
) -> None:
    """Encode, decode, and draw original, reconstruction and difference beside others at the same size.

    Images beside JPEG and WebP; sound beside MP3 and Opus, five minutes of it at most.

    Example: isthmus compare photo.jpg --quality 30 --out look.png

    Example: isthmus compare song.flac --keep --from 1:00 --to 1:12
    """
    import isthmus
    from isthmus.bench.compare import compare as draw
    from isthmus.bench.compare import numbers_table
    from isthmus.bench.peers.pillow import pillow_codecs
    from isthmus.files import atomic_file
    from isthmus.media import kinds
    from isthmus.samples import ASTRONAUT

    if out.suffix.lower() != ".png" and not is_pipe(out):
        raise ValueError(f"compare: --out {out} must end in .png")
    photo, options = source or ASTRONAUT, chosen(context)
    with writable(out, ".png", source=photo) as place, readable(photo) as readable_photo:
        model: Any = isthmus.load(codec or default_for(readable_photo))
        if model.kind == "audio":
            part = (begin or 0.0, end)
            _compare_sound(model, readable_photo, place, options, photo.name, out, keep=keep, part=part)
            return
        if model.kind != "image":
            raise ValueError(f"compare: {model.name} encodes {model.kind}; this version draws images and sound only")
        given = [
            name for name, value in (("--keep", keep or None), ("--from", begin), ("--to", end)) if value is not None
        ]
        if given:
            raise ValueError(f"compare: {given[0]} is for sound, and {photo} is an image")
        _say(note for note in pillow_codecs()[1] if note.startswith(("jpeg:", "webp:")))
        image, _ = kinds.read(readable_photo, model.kind, options)
        result = draw(image, model, options, title=photo.name)
        with atomic_file(place) as file:
            result.sheet.save(file, "PNG")
    tell(numbers_table(result.measurements), out)
    tell(f"written: {out}", out)


def _compare_sound(
    model: Any,
    source: Path,
    place: Path,
    options: dict[str, Any],
    title: str,
    out: Path,
    *,
    keep: bool,
    part: tuple[float, float | None],
) -> None:
    """place: where the picture is written, for `out`."""
    from isthmus.bench.compare import aligned
    from isthmus.bench.compare_sound import compare_sound, sound_table, usual_rivals
    from isthmus.bench.report import require_matplotlib
    from isthmus.files import atomic_write
    from isthmus.media import audio
    from isthmus.progress import Progress
    from isthmus.signals import AudioSignal

    require_matplotlib()
    rivals, notes = usual_rivals()
    _say(notes)
    sound, sample_rate = _part_of(source, *part)
    try:
        with Progress(len(rivals) + 2, "steps") as shown:
            result = compare_sound(sound, sample_rate, model, options, title=title, rivals=rivals, advance=shown.next)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    atomic_write(place, result.png)
    tell(aligned(sound_table(result.measurements)), out)
    tell(f"written: {out}", out)
    if not keep:
        return
    for name, decoded in result.sounds.items():
        own = name == "original"  # as it is in the file; the others as they were compared
        kept, rate = (sound, sample_rate) if own else (decoded, result.sample_rate)
        beside = Path("compare.png") if is_pipe(out) else out
        target = beside.with_name(f"{beside.stem}.{Path(name).stem}.wav")
        audio.write(target, kept, AudioSignal(rate, len(kept), kept.shape[1]))
        tell(f"written: {target}" + ("" if rate == sample_rate else f", at {rate} Hz, as it was compared"), out)


def _part_of(source: Path, begin: float, end: float | None) -> tuple[np.ndarray, int]:
    """Sound from `begin` to `end` in seconds, or as much as is compared, and its rate. Raises ValueError for none."""
    from isthmus.media.audio import open_sound

    if end is not None and end <= begin:
        raise ValueError(f"compare: from {begin:g} s to {end:g} s, expected an end behind the beginning")
    sound = open_sound(source)
    rate = sound.sample_rate
    first, last = round(begin * rate), round(min(begin + LONGEST, end if end is not None else np.inf) * rate)
    found: list[np.ndarray] = []
    at, more = 0, False
    for block in sound.blocks():
        if at >= last and block.shape[1]:
            more = True
            break
        found.append(block[:, max(0, first - at) : last - at].copy())
        more = at + block.shape[1] > last
        at += block.shape[1]
    if first and at <= first:
        raise ValueError(f"{source}: compare: from {begin:g} s, the sound ends at {at / rate:g} s")
    if more and (end is None or end > begin + LONGEST):
        _say([f"warning: {LONGEST // 60} minutes are compared, from {begin:g} s on: choose them with --from and --to"])
    return np.concatenate(found, 1), rate


def _say(notes: Any) -> None:
    for note in notes:
        print(f"isthmus: {note}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Hangs the command on `app`."""
    app.command(cls=codec_command(encode_options))(compare)
