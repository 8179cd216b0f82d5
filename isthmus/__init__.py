# SPDX-License-Identifier: Apache-2.0
"""Neural codecs whose compressed form is what you store, send and train on.

codec = isthmus.load("walloc-image-f8c48")
data = codec.encode(image, quality=50)      # bytes
image = codec.decode(data)                  # or isthmus.decode(data): finds the codec from the header
latent = codec.unpack(data)                 # integers to train on: latent.planes, latent.dequantize()
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus import errors
from isthmus.bitstream import read_header
from isthmus.codecs.base import Codec, Latent
from isthmus.codecs.batching import is_one, named_by_place, stack_samples
from isthmus.codecs.length import of_units, with_length
from isthmus.codecs.registry import codec_for, default_codec, describe, list_codecs, load
from isthmus.forks import first_time

__version__ = "0.1.0"
__all__ = ["Codec", "Latent", "decode", "encode", "errors", "inspect", "list_codecs", "load", "unpack"]


def encode(samples: Any, *, codec: str | None = None, device: str = "cpu", **options: Any) -> Any:
    """Samples, or the path of a media file, to bytes.

    samples: torch uint8 [3, H, W] (a batch [B, 3, H, W] gives a list), numpy uint8 [H, W, 3], PIL, a dict of torch
    tensors, a path, or, with `sample_rate`, sound as torch or numpy [C, T]. codec: a name of `list_codecs()` or the
    path of a weights file; without one, what the samples are decides. options: fields of the codec's `Options`, such
    as `quality` 1..100 (default 50, larger is better) and `background` for transparent images.

    Raises ValueError or TypeError for wrong arguments, children of `errors.IsthmusError` for bad files.
    """
    if isinstance(samples, str | os.PathLike):
        with first_time("media"):
            from isthmus.media.kinds import kind_of, read

        chosen = load(codec or default_codec(kind_of(samples), str(samples)), device)
        samples, facts = read(samples, chosen.kind, options)
        return chosen.encode(samples, **facts, **options)
    kind = "tensors" if isinstance(samples, Mapping) else "audio" if "sample_rate" in options else "image"
    return load(codec or default_codec(kind), device).encode(samples, **options)


def unpack(data: bytes, *, device: str = "cpu") -> Latent:
    """Bytes to the latent they hold, without synthesis; finds the codec from the header."""
    return codec_for(read_header(data), device).unpack(data)


def decode(data: bytes | Sequence[bytes], *, device: str = "cpu", **options: Any) -> Any:
    """Bytes to samples; finds the codec from the header.

    A list of streams, as a batch is encoded to, gives a batch [N, ...] where shapes agree, else a list.
    options: fields of the codec's `DecodeOptions`, of images `output` "torch" (default), "numpy" or "pil", `synthesis`
    "network" (default) or "linear" (fast preview) and `max_pixels`, beyond which a stream is refused (2**28).

    Raises children of `errors.IsthmusError` only, whatever the bytes.
    """
    if is_one(data):
        return codec_for(read_header(data), device).decode(data, **options)
    codecs = []
    for place, one in enumerate(data):
        try:
            codecs.append(codec_for(read_header(one), device))
        except errors.IsthmusError as error:
            raise named_by_place(error, place, len(data)) from error
    if len({id(codec) for codec in codecs}) == 1:
        return codecs[0].decode(data, **options)
    return stack_samples([codec.decode(one, **options) for codec, one in zip(codecs, data, strict=True)])


def inspect(data: bytes | str | os.PathLike[str]) -> dict[str, Any]:
    """What the header of a stream, or of the file at a path, says, as a dict for JSON; nothing is decoded.

    Where a header does not know how long its sound is, as that was written while it came, the last unit tells;
    `samples` and `seconds` are None where it is missing.

    Keys: `codec` (a name for `load`, None for weights that do not ship), `codec_id`, `tables_hash`, `weights_hash`,
    `signal` (kind, height, width, layout, bit depth), `options` (hexadecimal) and what they mean, such as `quality`.
    Of sound also `kbit/s`, `units`, `tags` where there are any, and `cut` where the end is missing.
    """
    if isinstance(data, str | os.PathLike):
        try:
            with open(data, "rb") as file:
                return inspect(file)  # type: ignore[arg-type]
        except OSError as error:
            raise errors.UnreadableFileError(f"{data}: cannot be read: {error.strerror or error}") from error
    header = with_length(read_header(data), data)
    return describe(header) | of_units(header, data)
