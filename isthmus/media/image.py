# SPDX-License-Identifier: Apache-2.0
"""Still images: files in and out (Pillow), and the arrays that callers hand over."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media.files import atomic_file
from isthmus.media.pixels import ColourWarning, PrecisionWarning, to_pixels
from isthmus.media.sample_depth import HEAD_BYTES, bits_per_sample, grey_levels

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "MAX_PIXELS",
    "WRITABLE",
    "ColourWarning",
    "PrecisionWarning",
    "check_writable",
    "from_array",
    "read_image",
    "to_array",
    "write_image",
]

MAX_PIXELS = 1 << 30
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


def read_image(
    path: str | os.PathLike[str], *, background: str | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read an image file: uint8 [H,W,3] in sRGB, or [H,W,1] if the file is grey.

    PNG, JPEG, WebP, AVIF, TIFF and what else Pillow opens. EXIF orientation is applied. More than 8 bits per sample
    are reduced with a `PrecisionWarning`, CMYK is converted with a `ColourWarning`, other colour profiles are
    converted to sRGB, and of several frames the first is read with a warning. Alpha is dropped only where every
    pixel is opaque; else pixels are laid on `background` (a colour name or #rrggbb) if given.

    Raises `UnreadableFileError` for whatever is missing, damaged, too large (over `max_pixels`, checked before
    decoding), transparent without `background`, or in samples that have no 8-bit meaning; ValueError for an
    unknown `background`.
    """
    if background is not None:
        _check_colour(background)
    try:
        with open(path, "rb") as file:
            return _read(file, str(path), background, max_pixels)
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UnreadableFileError(f"{path}: is a folder; expected an image file") from error
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
        raise UnreadableFileError(f"{name}: is empty (0 bytes); expected an image file")
    image = _open(file, name, head)
    if image.width * image.height > max_pixels:
        raise UnreadableFileError(
            f"{name}: {image.width}x{image.height} = {image.width * image.height:,} pixels; at most {max_pixels:,} "
            "are read: scale it down or cut it into parts"
        )
    try:
        several = image.format not in _PHONE_EXTRAS and getattr(image, "is_animated", False)
        bits, levels = bits_per_sample(image, head), grey_levels(image)
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
        return to_pixels(image, bits, levels, background)
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
    raise UnreadableFileError(
        f"{name}: not an image: it begins with {head[:16]!r}; expected PNG, JPEG, WebP, AVIF or TIFF. "
        "Convert it to one of these first"
    )


def to_array(image: Any, *, background: str | None = None) -> np.ndarray:
    """One image as a contiguous uint8 array [H,W,3] (RGB) or [H,W,1] (grey), without a copy where possible.

    image: numpy uint8 [H,W,3], [H,W,1] or [H,W]; torch uint8 [3,H,W] or [1,H,W], any device; or a PIL image, under
    the rules of `read_image`. Raises TypeError for another type or dtype, ValueError for another shape, no pixels,
    or transparency without `background`.
    """
    if isinstance(image, np.ndarray):
        return _from_numpy(image)
    from PIL import Image, ImageOps

    if isinstance(image, Image.Image):
        bits, levels = bits_per_sample(image, b""), grey_levels(image)
        return to_pixels(ImageOps.exif_transpose(image), bits, levels, background)
    import torch

    if isinstance(image, torch.Tensor):
        return _from_torch(image)
    raise TypeError(f"image: expected a numpy array, torch tensor or PIL image; got {type(image).__name__}")


def _from_numpy(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise TypeError(
            f"image: expected numpy dtype uint8 (0 to 255); got {array.dtype}{_range_hint(array.dtype.kind)}"
        )
    shaped = array[:, :, None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3):
            hint = "; this looks like [C,H,W]: use array.transpose(1, 2, 0)"
        elif array.ndim == 3 and array.shape[2] == 4:
            hint = "; for RGBA lay it on a background first, or hand over a PIL image and background="
        elif array.ndim == 4:
            hint = "; hand over one image at a time"
        raise ValueError(f"image: expected numpy shape [H,W,3], [H,W,1] or [H,W]; got {list(array.shape)}{hint}")
    if shaped.size == 0:
        raise ValueError(f"image: no pixels in shape {list(array.shape)}; expected at least 1x1")
    return np.ascontiguousarray(shaped)


def _from_torch(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype != torch.uint8:
        raise TypeError(
            f"image: expected torch dtype uint8 (0 to 255); got {tensor.dtype}"
            f"{_range_hint('f' if tensor.is_floating_point() else 'i')}"
        )
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        hint = ""
        if tensor.ndim == 3 and tensor.shape[2] in (1, 3):
            hint = "; this looks like [H,W,C]: use tensor.permute(2, 0, 1)"
        elif tensor.ndim == 4:
            hint = "; hand over one image at a time"
        raise ValueError(f"image: expected torch shape [3,H,W] or [1,H,W]; got {list(tensor.shape)}{hint}")
    if tensor.numel() == 0:
        raise ValueError(f"image: no pixels in shape {list(tensor.shape)}; expected at least 1x1")
    return np.ascontiguousarray(tensor.detach().cpu().permute(1, 2, 0).numpy())


def _range_hint(kind: str) -> str:
    return ": scale to 0..255, round, and convert to uint8" if kind in "fiu" else ""


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
    pixels = _from_numpy(array)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    Image.init()
    if kind not in Image.SAVE:
        raise MissingExtraError(f"{path}: this Pillow was built without {kind}: write a .png, or install a full Pillow")
    with atomic_file(path) as file:
        image.save(file, format=kind, **{**defaults, **options})


def from_array(samples: np.ndarray, output: str = "torch") -> Any:
    """uint8 [C,H,W], C of 1 or 3, as "torch" [C,H,W], "numpy" [H,W,C] or "pil"; ValueError for another output."""
    if output == "torch":
        import torch

        return torch.from_numpy(samples)
    if output not in ("numpy", "pil"):
        raise ValueError(f"output {output!r}, expected 'torch', 'numpy' or 'pil'")
    array = np.ascontiguousarray(samples.transpose(1, 2, 0))
    if output == "numpy":
        return array
    from PIL import Image

    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
