# SPDX-License-Identifier: Apache-2.0
"""`isthmus compare`: one file through one of our codecs, beside the codecs that everyone has."""

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.codec import default_for, encode_options
from isthmus.cli.options import CodecName, chosen, codec_command
from isthmus.cli.pipes import is_pipe, readable, tell, writable


def compare(
    context: typer.Context,
    source: Annotated[Path | None, typer.Argument(help="An image; without one, a photograph that ships.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("compare.png"),
    codec: CodecName = None,
) -> None:
    """Encode, decode, and draw original, reconstruction and difference beside JPEG and WebP at the same size.

    Example: isthmus compare photo.jpg --quality 30 --out look.png
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
        if model.kind != "image":
            raise ValueError(f"compare: {model.name} encodes {model.kind}; this version draws images only")
        image, _ = kinds.read(readable_photo, model.kind, options)
        result = draw(image, model, options, title=photo.name)
        with atomic_file(place) as file:
            result.sheet.save(file, "PNG")
    tell(numbers_table(result.measurements), out)
    tell(f"written: {out}", out)


def register(app: typer.Typer) -> None:
    """Hangs the command on `app`."""
    app.command(cls=codec_command(encode_options))(compare)
