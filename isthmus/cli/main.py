# SPDX-License-Identifier: Apache-2.0
"""The command `isthmus`. Exit status 0 on success, 2 with one clear line on standard error for bad input."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli import bench, train, weights

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Neural codecs whose compressed form is what you store, send and train on.",
)
app.add_typer(train.app, name="train")
app.add_typer(bench.app, name="bench")
app.add_typer(weights.app, name="weights")

Quality = Annotated[int, typer.Option("--quality", "-q", min=1, max=100, help="1 to 100, larger is better.")]
CodecName = Annotated[str, typer.Option("--codec", "-c", help="Name (see `isthmus codecs`) or weights file.")]
Background = Annotated[str | None, typer.Option(help="Colour to lay transparent images on, such as white.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DEFAULT = "walloc-image-f8c48"


@app.callback()
def options(debug: Debug = False) -> None:
    """Neural codecs whose compressed form is what you store, send and train on."""


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(help="Image: PNG, JPEG, WebP, AVIF, TIFF, ...")],
    target: Annotated[Path, typer.Argument(help="Stream to write; .ist by custom.")],
    codec: CodecName = DEFAULT,
    quality: Quality = 50,
    background: Background = None,
    entropy: Annotated[
        str | None, typer.Option(help="context (smallest, the default) or factorized (packs and unpacks faster).")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Encode an image file into a stream.

    Example: isthmus encode photo.jpg photo.ist --quality 60
    """
    import isthmus
    from isthmus.files import atomic_write
    from isthmus.media.image import read_image

    image = read_image(source, background=background)
    data = isthmus.load(codec, device).encode(image, quality=quality, entropy=entropy)
    atomic_write(target, data)
    height, width = image.shape[:2]
    typer.echo(f"{target}: {width}x{height}, {len(data)} bytes, {8 * len(data) / (width * height):.3f} bits per pixel")


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(help="Stream made by `isthmus encode`.")],
    target: Annotated[Path, typer.Argument(help="Image to write; the suffix tells the format (.png, .jpg, ...).")],
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file, for streams of your own codec.")
    ] = None,
    synthesis: Annotated[str, typer.Option(help="network, or linear for a fast preview.")] = "network",
    device: Device = "cpu",
) -> None:
    """Decode a stream into an image file.

    Example: isthmus decode photo.ist photo.png
    """
    import isthmus
    from isthmus.media.image import check_writable, write_image

    check_writable(target)
    data = _read_stream(source)
    options = {"output": "numpy", "synthesis": synthesis}
    image = (
        isthmus.load(codec, device).decode(data, **options) if codec else isthmus.decode(data, device=device, **options)
    )
    write_image(target, image)
    typer.echo(f"{target}: {image.shape[1]}x{image.shape[0]}")


@app.command()
def inspect(source: Annotated[Path, typer.Argument(help="Stream to look into.")]) -> None:
    """Print the header of a stream as JSON, without decoding it."""
    import isthmus

    data = _read_stream(source)
    typer.echo(json.dumps({"bytes": len(data), **isthmus.inspect(data)}, indent=2))


@app.command()
def codecs() -> None:
    """List the codecs that ship."""
    from isthmus.codecs.registry import pretrained

    newest = {p.name: p for p in pretrained()}
    for p in newest.values():
        typer.echo(f"{p.name:24}{p.codec_id:12}r{p.revision}  {p.summary}")


@app.command()
def compare(
    photo: Annotated[Path | None, typer.Argument(help="An image; without one, a photograph that ships.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("compare.png"),
    codec: CodecName = DEFAULT,
    quality: Quality = 50,
    background: Background = None,
) -> None:
    """Encode, decode, and draw original, reconstruction and difference beside JPEG and WebP at the same size.

    Example: isthmus compare photo.jpg --quality 30 --out look.png
    """
    import isthmus
    from isthmus.bench.compare import compare as draw
    from isthmus.bench.compare import numbers_table
    from isthmus.files import atomic_file
    from isthmus.media.image import read_image
    from isthmus.samples import ASTRONAUT

    if out.suffix.lower() != ".png":
        raise ValueError(f"compare: --out {out} must end in .png")
    image = read_image(photo or ASTRONAUT, background=background)
    model: Any = isthmus.load(codec)
    result = draw(image, model, quality, title=(photo or ASTRONAUT).name)
    with atomic_file(out) as file:
        result.sheet.save(file, "PNG")
    typer.echo(numbers_table(result.measurements))
    typer.echo(f"written: {out}")


def _read_stream(path: Path) -> bytes:
    from isthmus.errors import UnreadableFileError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"isthmus: warning: {message}\n"


def main() -> None:
    """Entry point: runs the command; bad input ends with one line and status 2, unless --debug is given."""
    from isthmus.errors import IsthmusError

    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [sys.argv[0], *(a for a in sys.argv[1:] if a != "--debug")]
    warnings.formatwarning = _one_line
    try:
        status = app(standalone_mode=False)
    except KeyboardInterrupt:
        raise SystemExit(_complain("stopped", 130)) from None
    except Exception as error:
        usage = isinstance(error, typer.BadParameter.__bases__)  # UsageError, wherever this typer keeps it
        if usage and type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            raise SystemExit(2) from None
        if debug:
            raise
        text = error.format_message() + " (see --help)" if usage else str(error)  # type: ignore[attr-defined]
        if usage or isinstance(error, (IsthmusError, ValueError, TypeError, OSError, MemoryError)):
            raise SystemExit(_complain(text or type(error).__name__, 2)) from None
        name = type(error).__name__
        raise SystemExit(_complain(f"unexpected {name}: {text}; run again with --debug and report it", 1)) from None
    if status == 130:
        raise SystemExit(_complain("stopped", 130))
    raise SystemExit(status or 0)


def _complain(text: str, status: int) -> int:
    print(f"isthmus: {' '.join(text.split())}", file=sys.stderr)
    return status
