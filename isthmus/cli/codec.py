# SPDX-License-Identifier: Apache-2.0
"""`isthmus encode`, `decode`, `inspect` and `codecs`: one file at a time, of whatever kind has a codec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import CodecName, Device, chosen, codec_command, decode_options, default_for, encode_options
from isthmus.cli.pipes import NAMES, STANDARD, Begun, about, begun, is_pipe, readable, standard_input, tell, writable
from isthmus.cli.sound import decode_sound, encode_pipe, encode_sound

if TYPE_CHECKING:
    from isthmus.bitstream import TrackHeader

HEAD = 64  # bytes that tell a file's kind
FOR_PYTHON = re.compile(
    r" \(read_chunks\([^)]*\) [^)]*\)|use isthmus\.decode\(data\) or |: isthmus\.decode\(data\) .*$"
)


def encode(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            help="File to encode: an image, a sound, a safetensors file, ...; - is standard input, of which WAV "
            "is encoded while it comes."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Stream to write; .ist by custom; - is standard output.")],
    codec: CodecName = None,
    device: Device = "cpu",
) -> None:
    """Encode a file into a stream. Without --codec, what the file is decides; each codec has options of its own.

    A pipe of sound is WAV, encoded while it comes: as nobody knows yet how loud it will be, the peak is taken to be
    full scale, and quiet sound gets fewer bytes and a lower quality than from a file at the same --quality.

    Example: isthmus encode photo.jpg photo.ist --quality 60

    Example: isthmus encode song.flac song.ist

    Example: isthmus encode model.safetensors model.ist --mode rans

    Example: cat photo.jpg | isthmus encode - - | isthmus decode - photo.png

    Example: arecord -f cd | isthmus encode - talk.ist
    """
    import isthmus
    from isthmus.codecs.registry import default_codec
    from isthmus.media import kinds
    from isthmus.media.audio.wav import is_wav

    options = chosen(context)
    with begun(source) if is_pipe(source) else nullcontext() as pipe:
        if pipe is not None and kinds.kind_of_head(pipe.look(HEAD)) == "audio":
            model: Any = isthmus.load(codec or default_codec("audio"), device)
            if model.in_blocks and is_wav(pipe.look(HEAD)):
                encode_pipe(model, pipe, source, target, options)
                return
        with readable(source, pipe) as file:
            model = isthmus.load(codec or default_for(file), device)
            if model.kind == "audio" and model.in_blocks:
                encode_sound(model, file, source, target, options)
            else:
                _encode_whole(model, file, source, target, options)


def _encode_whole(model: Any, file: Path, source: Path, target: Path, options: dict[str, Any]) -> None:
    from isthmus.bitstream import read_header
    from isthmus.files import atomic_write
    from isthmus.media import kinds

    with writable(target, source=source) as place:
        samples, facts = kinds.read(file, model.kind, options)
        model.Options.of({**facts, **options})  # whose errors are not about the file
        with about(source):
            data = model.encode(samples, **facts, **options)
        atomic_write(place, data)
    signal = read_header(data).signal
    rate = signal.rate(len(data), samples)
    told = "" if rate is None else f", {rate:.3f} {signal.unit}"
    tell(f"{target}: {signal}, {len(data)} bytes{told}", target)


def decode(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="Stream made by `isthmus encode`; - is standard input.")],
    target: Annotated[
        Path, typer.Argument(help="File to write; the suffix tells the format (.png, .wav, ...); - is standard output.")
    ],
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file, for streams of your own codec.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Decode a stream into a file of its kind.

    Images become what the suffix says, .png and others; sound .wav (16 bits), .flac or .ogg; tensors .safetensors. To a
    pipe go PNG, WAV and safetensors. With --allow-loss units of sound that are missing or damaged become silence.

    Example: isthmus decode photo.ist photo.png

    Example: isthmus decode song.ist song.wav --from 12s --to 15s

    Example: isthmus decode song.ist - | aplay
    """
    import isthmus
    from isthmus.codecs.registry import codec_class, codec_for
    from isthmus.media import kinds

    options = chosen(context)
    with begun(source) if is_pipe(source) else nullcontext() as pipe:
        with naming(source):
            header = first_header(source, pipe)
            reader = codec_class(header.codec_id)
        if reader.kind == "audio" and reader.in_blocks:
            if not is_pipe(target):
                kinds.check_writable(target, reader.kind)
            with naming(source):
                model: Any = isthmus.load(codec, device) if codec else codec_for(header, device)
                if model.kind != reader.kind:
                    raise ValueError(f"decode: {model.name} is a codec of {model.kind}, the stream holds {reader.kind}")
                decode_sound(model, source if pipe is None else pipe, source, target, options)
            return
        data = read_stream(source) if pipe is None else pipe.read()
    suffix = kinds.USUAL_SUFFIX[reader.kind] if is_pipe(target) else ""
    kinds.check_writable(target.with_suffix(suffix) if suffix else target, reader.kind)
    if reader.DecodeOptions.has("output"):
        options["output"] = "numpy"
    with writable(target, suffix, source=source) as place:
        with naming(source):
            model = isthmus.load(codec, device) if codec else codec_for(header, device)
            samples = model.decode(data, **options)
        kinds.write(place, reader.kind, samples, header.signal)
    tell(f"{target}: {header.signal}", target)


def inspect(
    source: Annotated[
        str, typer.Argument(help="Stream to look into, or folder or URL of a data set of latents; - is standard input.")
    ],
) -> None:
    """Print the header of a stream, or what a data set of latents holds, as JSON, without decoding it.

    Example: isthmus inspect photo.ist

    Example: isthmus inspect latents/
    """
    import isthmus

    if "://" in source or Path(source).is_dir():
        from isthmus.datasets.checks import describe

        typer.echo(json.dumps(describe(source), indent=2))
        return
    data = read_stream(Path(source))
    with naming(Path(source)):
        told = isthmus.inspect(data)
    typer.echo(json.dumps({"bytes": len(data), **told}, indent=2))


def codecs(
    kind: Annotated[str | None, typer.Option(help="Only those for image, tensors, ...")] = None,
) -> None:
    """List the codecs that ship: name, what they encode, format, revision."""
    from isthmus.codecs.registry import list_codecs, newest

    known = {entry.kind for entry in newest().values()}
    if kind not in (None, *known):
        raise ValueError(f"codecs: --kind {kind}: no codec for it; there are some for {', '.join(sorted(known))}")
    for name in list_codecs(kind):
        p = newest()[name]
        typer.echo(f"{p.name:24}{p.kind:9}{p.codec_id:12}{f'r{p.revision}' if p.file else '':4}{p.summary}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors within begin with the file that they are about, and give no advice for Python."""
    from isthmus.errors import IsthmusError

    name = NAMES[0] if str(path) == STANDARD else str(path)
    try:
        yield
    except IsthmusError as error:
        told = FOR_PYTHON.sub("", str(error))
        raise type(error)(told if name in told else f"{name}: {told}") from error


def first_header(path: Path, pipe: Begun | None) -> TrackHeader:
    """The header of the first track of a file or pipe. Raises UnreadableFileError, and what `read_header` raises."""
    from isthmus.bitstream import HEADER_LIMIT, read_header
    from isthmus.errors import CorruptStreamError, UnreadableFileError

    if pipe is None:
        try:
            with open(path, "rb") as file:
                return read_header(file)
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    size = 64
    while True:
        head = pipe.look(size)
        try:
            return read_header(head)
        except CorruptStreamError:
            if len(head) < size or size > HEADER_LIMIT:
                raise
        size *= 4


def read_stream(path: Path) -> bytes:
    """A whole stream. Raises UnreadableFileError."""
    from isthmus.errors import UnreadableFileError

    try:
        return standard_input().read() if str(path) == STANDARD else path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def register(app: typer.Typer) -> None:
    """Hangs the commands on `app`."""
    app.command(cls=codec_command(encode_options))(encode)
    app.command(cls=codec_command(decode_options))(decode)
    app.command()(inspect)
    app.command()(codecs)
