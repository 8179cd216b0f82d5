# SPDX-License-Identifier: Apache-2.0
"""Latents as a tv_tensor, so that torchvision's v2 transforms do what is right on them and refuse the rest.

v2 hands types it does not know on unchanged: a pipeline of ColorJitter and CenterCrop would do nothing and say nothing.
So every functional of v2 has a kernel here: flips and crops on the grid that are right, and one that refuses for all
others. This module needs torchvision (extra `data`); the rest of the package does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isthmus.codecs.base import Latent
from isthmus.datasets.transforms.analysis import Analysis, analysis_of
from isthmus.datasets.transforms.checks import check_latents
from isthmus.datasets.transforms.crops import center, cropped
from isthmus.datasets.transforms.flips import flip
from isthmus.errors import MissingExtraError

try:
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional as v2
except ImportError as error:
    raise MissingExtraError(f"LatentTensor needs torchvision ({error}): pip install 'isthmus[data]'") from error

if TYPE_CHECKING:
    Base = Tensor
else:
    Base = tv_tensors.TVTensor


class LatentTensor(Base):
    """Latents [c, h, w] or [n, c, h, w] of images, with what a flip of them needs to know.

    data: integers, or floats as they are dequantized to. codec: its name or path. quality: 1 to 100, that of integers.
    pixels: height and width of the image, where they are no multiples of a cell (8); of whole cells by default. Like
    all tv_tensors, it becomes a plain tensor in arithmetic, and when `DataLoader` collates it.

    Raises TypeError or ValueError for other latents, or for a codec whose latents are no linear analysis of images.
    """

    codec: str
    quality: int | None
    pixels: tuple[int, int]

    def __new__(
        cls, data: Any, *, codec: str, quality: int | None = None, pixels: Sequence[int] | None = None
    ) -> LatentTensor:
        y = check_latents(torch.as_tensor(data), 2, cls.__name__)
        cell = analysis_of(codec).cell
        grid = (int(y.shape[-2]), int(y.shape[-1]))
        height, width = (n * cell for n in grid) if pixels is None else pixels
        if (-(-height // cell), -(-width // cell)) != grid:
            raise ValueError(f"LatentTensor: {height}x{width} pixels do not make {grid[0]}x{grid[1]} cells of {cell}")
        return cls._with(y, codec, quality, (int(height), int(width)))

    @classmethod
    def of(cls, latent: Latent) -> LatentTensor:
        """The integers of a codec's latent; its codec must be one that `isthmus.load` finds by name."""
        header = latent.spec.header
        quality = latent.codec.Options.unpack(header.options).quality  # type: ignore[attr-defined]
        size = (header.signal.height, header.signal.width)  # type: ignore[union-attr]
        return cls(latent.planes["y"], codec=latent.codec.name, quality=quality, pixels=size)

    @property
    def analysis(self) -> Analysis:
        return analysis_of(self.codec)

    @classmethod
    def _with(cls, y: Tensor, codec: str, quality: int | None, pixels: tuple[int, int]) -> LatentTensor:
        out = y.as_subclass(cls)
        out.codec, out.quality, out.pixels = codec, quality, pixels
        return out

    def like(self, y: Tensor, pixels: tuple[int, int] | None = None) -> LatentTensor:
        """Other latents of the same codec and quality."""
        return self._with(y, self.codec, self.quality, pixels or self.pixels)

    @classmethod
    def wrap(cls, tensor: Tensor, like: LatentTensor, **kwargs: Any) -> LatentTensor:
        return like.like(tensor, **kwargs)

    @classmethod
    def _wrap_output(cls, output: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """What torch's own operations keep as latents (clone, to, detach): of the same codec and quality."""
        given = next(x for x in (*args, *(kwargs or {}).values()) if isinstance(x, LatentTensor))
        if isinstance(output, Tensor):
            return given.like(output)
        return type(output)(cls._wrap_output(x, args, kwargs) for x in output)

    def __repr__(self, *, tensor_contents: Any = None) -> Any:  # type: ignore[override]
        return self._make_repr(codec=self.codec, quality=self.quality, pixels=self.pixels)  # type: ignore[attr-defined]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (self.as_subclass(Tensor), self.codec, self.quality, self.pixels)


def _rebuild(y: Tensor, codec: str, quality: int | None, pixels: tuple[int, int]) -> LatentTensor:
    return LatentTensor._with(y, codec, quality, pixels)


def _flip(latents: LatentTensor, vertical: bool) -> LatentTensor:
    pixels = latents.pixels[0 if vertical else 1]
    y = latents.as_subclass(Tensor)
    return latents.like(flip(y, latents.analysis, vertical=vertical, quality=latents.quality, pixels=pixels))


def _horizontal_flip(latents: LatentTensor) -> LatentTensor:
    return _flip(latents, vertical=False)


def _vertical_flip(latents: LatentTensor) -> LatentTensor:
    return _flip(latents, vertical=True)


def _crop(latents: LatentTensor, top: int, left: int, height: int, width: int) -> LatentTensor:
    """In cells."""
    y = cropped(latents.as_subclass(Tensor), (top, left), (height, width))
    cell = latents.analysis.cell
    most = (latents.pixels[0] - top * cell, latents.pixels[1] - left * cell)
    return latents.like(y, (min(most[0], height * cell), min(most[1], width * cell)))


def _center_crop(latents: LatentTensor, output_size: Sequence[int] | int) -> LatentTensor:
    """In cells."""
    size = (output_size,) if isinstance(output_size, int) else tuple(output_size)
    height, width = size * 2 if len(size) == 1 else size
    top, left = center(latents.shape[-2:], (height, width))
    return _crop(latents, top, left, height, width)


def _to_dtype(latents: LatentTensor, dtype: torch.dtype = torch.float, scale: bool = False) -> LatentTensor:
    """From floats to floats."""
    if not (latents.dtype.is_floating_point and dtype.is_floating_point):
        raise TypeError(
            f"to_dtype: latents of {latents.dtype} to {dtype}: integers become floats by codec.dequantize(latent), "
            "which knows the step of each channel"
        )
    return latents.like(latents.as_subclass(Tensor).to(dtype))


def _dimensions(latents: LatentTensor) -> list[int]:
    return list(latents.shape[-3:])


RIGHT: dict[str, Callable[..., Any]] = {
    "horizontal_flip": _horizontal_flip,
    "vertical_flip": _vertical_flip,
    "crop": _crop,
    "center_crop": _center_crop,
    "to_dtype": _to_dtype,
    "get_dimensions": _dimensions,
    "get_size": lambda latents: _dimensions(latents)[1:],
    "get_num_channels": lambda latents: _dimensions(latents)[0],
}
WRONG = {  # functional: what to do instead
    **dict.fromkeys(
        ("adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation", "adjust_sharpness",
         "autocontrast", "equalize", "gaussian_blur", "gaussian_noise", "grayscale_to_rgb", "invert", "jpeg",
         "permute_channels", "posterize", "rgb_to_grayscale", "solarize"),
        "it is defined on colours of pixels; change the images before they are transcoded",
    ),
    **dict.fromkeys(
        ("affine", "elastic", "perspective", "rotate"),
        "it moves pixels between cells; change the images before they are transcoded",
    ),
    **dict.fromkeys(
        ("resize", "resized_crop"),
        "cells of a resized image are others: isthmus transcode --resize, or isthmus.datasets.transforms.Resize for "
        "means of cells",
    ),
    "normalize": "channels have their own means and deviations, in the manifest: take them in the model, after "
    "dequantizing",
    **dict.fromkeys(
        ("erase", "pad"), "latents of 0 are no black pixels; change the images before they are transcoded"
    ),
    **dict.fromkeys(("five_crop", "ten_crop"), "take CenterCrop, or isthmus.datasets.transforms.RandomCrop"),
    **dict.fromkeys(("get_num_frames", "uniform_temporal_subsample"), "latents of images have no frames"),
}  # fmt: skip


def _refusing(name: str, instead: str) -> Callable[..., Any]:
    def refuse(latents: LatentTensor, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{name}: torchvision's {name} would be wrong on latents: {instead}")

    return refuse


def _register() -> None:
    kernels = RIGHT | {name: _refusing(name, instead) for name, instead in WRONG.items()}
    for name, kernel in kernels.items():
        functional = getattr(v2, name, None)  # some came with later versions
        if functional is not None:
            v2.register_kernel(functional, LatentTensor)(kernel)


_register()
