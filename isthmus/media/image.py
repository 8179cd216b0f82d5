# SPDX-License-Identifier: Apache-2.0
"""Still images: files in and out (Pillow)."""

import os
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from isthmus.arrays.colour import ColourWarning
from isthmus.arrays.image import MAX_PIXELS, from_numpy
from isthmus.arrays.pixels import PrecisionWarning, no_low_bits, to_pixels
from isthmus.arrays.sample_depth import HEAD_BYTES, bits_per_sample, grey_levels
from isthmus.errors import ForeignFileError, MissingExtraError, UnreadableFileError
from isthmus.files import atomic_file
from isthmus.media.colour import left_out, stated_colour
from isthmus.media.low_bits import low_bits, swapped_tiles
from isthmus.options import Options, option
from isthmus.signatures import resembles

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "ColourWarning",
    "PrecisionWarning",
    "ReadOptions",
    "check_writable",
    "read",
    "read_image",
    "write",
    "write_image",
]

_OUTSIDE_PROGRAMS = {"EPS", "WMF"}  # Pillow hands these to Ghostscript or to Windows: never for untrusted files
_PHONE_EXTRAS = {"MPO"}  # a JPEG whose further frames are previews or gain maps, not an animation

# suffix: (Pillow's format, options). Lossless where the format can; else nearly so, chroma at full resolution.
WRITABLE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".webp": ("WEBP", {"lossless": True}),
    ".avif": ("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".jp2": ("JPEG2000", {}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
}
SUFFIXES = frozenset({*WRITABLE, ".gif", ".jfif", ".jpe", ".j2k", ".pnm", ".tga"})


@dataclass(frozen=True)
class ReadOptions(Options):
    """What the command offers for every codec of images."""

    background: str | None = option(None, "Colour to lay transparent images on, such as white; else they are refused.")
    max_pixels: int | None = option(
        None, "Larger images are refused, before memory is taken for them: of 2**28 pixels, in data sets of 89478485.",
        low=1,
    )  # fmt: skip


def read(path: str | os.PathLike[str], options: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """As `media.kinds.read`: uint8 [H, W, 3] or [H, W, 1]; takes those of `ReadOptions` from the options."""
    names = [f.name for f in fields(ReadOptions) if f.name in options]
    chosen = ReadOptions(**{name: options.pop(name) for name in names})
    most = MAX_PIXELS if chosen.max_pixels is None else chosen.max_pixels
    return read_image(path, background=chosen.background, max_pixels=most), {}


def write(path: str | os.PathLike[str], samples: np.ndarray, signal: Any) -> None:
    """As `media.kinds.write`."""
    write_image(path, samples)


def read_image(
    path: str | os.PathLike[str], *, background: str | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read an image file: uint8 [H,W,3] in sRGB, or [H,W,1] if the file is grey.

    PNG, JPEG, WebP, AVIF, TIFF and what else Pillow opens. EXIF orientation is applied. More than 8 bits per sample
    are reduced with a `PrecisionWarning`, CMYK is converted with a `ColourWarning`, and of several frames the first
    is read with a warning. What the file says of its colour (PNG cICP, gAMA and cHRM, AVIF nclx, ICC profiles) is
    converted to sRGB, with a `ColourWarning` where colours are clipped to it and that is seen. Alpha is dropped only
    where every pixel is opaque; else pixels are laid on `background` (a colour name or #rrggbb) if given.

    Raises `UnreadableFileError` for whatever is missing, damaged, too large (over `max_pixels`, checked before
    decoding), transparent without `background`, HDR (PQ, HLG), or in samples or colours that have no 8-bit sRGB
    meaning; ValueError for an unknown `background`.
    """
    if background is not None:
        _check_colour(background)
    try:
        with open(path, "rb") as file:
            return _read(file, str(path), background, max_pixels)
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ForeignFileError(f"{path}: is a folder; expected an image file") from error
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_colour(name: str) -> None:
    from PIL import ImageColor

    try:
        ImageColor.getrgb(name)
    except ValueError as error:
        raise ValueError(f"background {name!r} is not a colour: expected a name (white) or #rrggbb") from error


def _read(file: BinaryIO, name: str, background: str | None, max_pixels: int) -> np.ndarray:
    from PIL import ImageOps

    head = file.read(HEAD_BYTES)
    if not head:
        raise ForeignFileError(f"{name}: is empty (0 bytes); expected an image file")
    image = _open(file, name, head)
    if image.width * image.height > max_pixels:
        raise UnreadableFileError(
            f"{name}: {image.width}x{image.height} = {image.width * image.height:,} pixels; at most {max_pixels:,} "
            "are read: scale it down, cut it into parts, or raise max_pixels (--max-pixels)"
        )
    try:
        several = image.format not in _PHONE_EXTRAS and getattr(image, "is_animated", False)
        bits, levels, tiles = bits_per_sample(image, head), grey_levels(image), swapped_tiles(image)
        image.load()
    except Exception as error:  # Pillow's plugins raise nearly any class on damaged data
        raise UnreadableFileError(
            f"{name}: begins as {image.format}, {image.width}x{image.height}, but cannot be decoded ({error}): "
            "it is truncated or damaged; get it again"
        ) from error
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:
        warnings.warn(f"{name}: orientation not applied, damaged EXIF ({error})", UserWarning, stacklevel=4)
    if several:
        warnings.warn(f"{name}: holds several frames or pages; only the first is read", UserWarning, stacklevel=4)
    try:
        stated = stated_colour(file, image.format)
        image.info.update(left_out(file, image.format))
        low = (lambda: low_bits(_open(file, name, head), tiles)) if bits > 8 and tiles else no_low_bits
        return to_pixels(image, bits, levels, background, stated, low)
    except ValueError as error:
        raise UnreadableFileError(f"{name}: {error}") from error


def _open(file: BinaryIO, name: str, head: bytes) -> "Image.Image":
    """Open through Pillow's plugins, lazily: as `Image.open` does, but without its global limit on the size."""
    from PIL import Image

    Image.init()
    accepted, reason = "", ""
    for kind in Image.ID:
        factory, accept = Image.OPEN[kind]
        prefix = head[:16].ljust(16, b"\0")  # some plugins unpack numbers from it without asking how long it is
        verdict = accept(prefix) if accept else True  # a string says why this build of Pillow cannot
        if kind in _OUTSIDE_PROGRAMS or not verdict or isinstance(verdict, str):
            continue
        file.seek(0)
        try:
            return factory(file, name)
        except Exception as error:  # "not mine" and "damaged" look alike: a plugin without accept() tries each file
            if accept:
                accepted, reason = kind, str(error)
    if accepted:
        raise UnreadableFileError(
            f"{name}: begins as {accepted}, but its header is not valid ({reason or 'damaged'}): "
            "it is truncated, damaged or of 0 pixels; get it again"
        )
    raise ForeignFileError(
        f"{name}: not an image: {resembles(head[:64])}; expected PNG, JPEG, WebP, AVIF, TIFF, BMP or GIF. "
        "Convert it to one of these first"
    )


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError for a suffix that `write_image` does not know, before the work that makes the image."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(f"{path}: unknown suffix {suffix!r}; expected one of {', '.join(WRITABLE)}")


def write_image(path: str | os.PathLike[str], array: np.ndarray, **options: Any) -> None:
    """Write uint8 [H,W,3], [H,W,1] or [H,W] to `path`, whole or not at all; the suffix names the format.

    options: handed to Pillow's writer, over the defaults of `WRITABLE` (JPEG at quality 95 in 4:4:4, WebP lossless).
    Raises ValueError for an unknown suffix, `UnwritableFileError` where the file cannot be made,
    `MissingExtraError` if this Pillow was built without the format.
    """
    from PIL import Image

    check_writable(path)
    kind, defaults = WRITABLE[Path(path).suffix.lower()]
    pixels = from_numpy(array)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    Image.init()
    if kind not in Image.SAVE:
        raise MissingExtraError(f"{path}: this Pillow was built without {kind}: write a .png, or install a full Pillow")
    with atomic_file(path) as file:
        image.save(file, format=kind, **{**defaults, **options})
