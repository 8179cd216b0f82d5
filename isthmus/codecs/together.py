# SPDX-License-Identifier: Apache-2.0
"""Images of one shape as one tensor on a device."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isthmus.arrays.image import to_array


def stacked(images: Sequence[Any] | Tensor, background: str | None, device: torch.device) -> Tensor:
    """Images of one shape, in the forms that `to_array` takes, or uint8 [N, C, H, W]: uint8 [N, C, H, W] on `device`.

    C: 1 of grey images, else 3. Raises ValueError or TypeError for other shapes or dtypes, and where shapes differ.
    """
    if isinstance(images, Tensor):
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not images[0].numel():
            raise ValueError(f"images: got {images.dtype} {list(images.shape)}; expected uint8 [N, 3 or 1, H, W]")
        return images.to(device)
    arrays = [to_array(image, background=background) for image in images]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1:
        raise ValueError(f"images: of shapes {', '.join(map(str, shapes))} [H, W, C]; expected one shape in a list")
    room = torch.empty(len(arrays), *shapes[0], dtype=torch.uint8, pin_memory=device.type == "cuda")
    for place, array in zip(room.numpy(), arrays, strict=True):
        place[:] = array
    return room.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
