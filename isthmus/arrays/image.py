# SPDX-License-Identifier: Apache-2.0
"""The images that callers hand over and get back: numpy, torch and PIL, to uint8 arrays and back."""

from typing import Any

import numpy as np

from isthmus.arrays.pixels import to_pixels
from isthmus.arrays.sample_depth import bits_per_sample, grey_levels

MAX_PIXELS = 1 << 28  # 16384 squared: more is asked for by name, of files and streams
GREY_ROWS = 64  # rows of a grey image made at once


def to_array(image: Any, *, background: str | None = None) -> np.ndarray:
    """One image as a contiguous uint8 array [H,W,3] (RGB) or [H,W,1] (grey), without a copy where possible.

    image: numpy uint8 [H,W,3], [H,W,1] or [H,W]; torch uint8 [3,H,W] or [1,H,W], any device; or a PIL image, under
    the rules of `read_image`, as far as Pillow hands on what its file says of colour: not PNG cICP nor AVIF nclx.
    Mode I made in memory is 8-bit grey where no sample is over 255, else 16-bit.

    Raises TypeError for another type or dtype, ValueError for another shape, no pixels, transparency without
    `background`, or colours that `read_image` refuses.
    """
    if hasattr(image, "filled"):  # np.ma, which takes long to import
        raise TypeError("image: a masked array, whose mask would be lost: fill it first, with array.filled(0)")
    if isinstance(image, np.ndarray):
        return from_numpy(image)
    from PIL import Image, ImageOps

    if isinstance(image, Image.Image):
        bits, levels = bits_per_sample(image, b""), grey_levels(image)
        return to_pixels(ImageOps.exif_transpose(image), bits, levels, background)
    import torch

    if isinstance(image, torch.Tensor):
        return _from_torch(image)
    raise TypeError(f"image: expected a numpy array, torch tensor or PIL image; got {type(image).__name__}")


def from_numpy(array: np.ndarray) -> np.ndarray:
    """A numpy image as contiguous uint8 [H,W,1 or 3]; raises TypeError or ValueError for anything else."""
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
    if kind == "f":
        return ": floats 0..1: multiply by 255 and round to uint8"
    return ": scale to 0..255, round, and convert to uint8" if kind in "iu" else ""


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


def mean_of_channels(image: np.ndarray) -> np.ndarray:
    """uint8 [3,H,W] to the rounded mean [1,H,W], some rows at a time: the sums take four times the memory."""
    grey = np.empty((1, *image.shape[1:]), np.uint8)
    for top in range(0, image.shape[1], GREY_ROWS):
        total = image[:, top : top + GREY_ROWS].sum(axis=0, dtype=np.uint16)
        grey[0, top : top + GREY_ROWS] = (total * np.uint16(2) + np.uint16(3)) // np.uint16(6)
    return grey
