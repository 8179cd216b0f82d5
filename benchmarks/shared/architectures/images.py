# SPDX-License-Identifier: Apache-2.0
"""Images and videos for a model: as pixels, or as rows of flattened patches with their grid."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig

from .parts import find

GRID = 4  # patches a side of an image that is given as rows


class Images:
    """extent: of pixel_values before the channels."""

    def __init__(
        self,
        config: PreTrainedConfig,
        names: Mapping[str, Any],
        extent: tuple[int, ...],
        noise: Callable[..., torch.Tensor],
    ) -> None:
        self.config, self.names, self.extent, self.noise = config, names, extent, noise
        self.rows = any(name in names for name in ("image_grid_thw", "grid_thw"))
        self.batch = 1

    def has(self, name: str) -> bool:
        return hasattr(self, f"make_{name}") and not (name == "hidden_states" and "grid_thw" not in self.names)

    def value(self, name: str) -> Any:
        return getattr(self, f"make_{name}")()

    def find(self, *names: str, default: Any) -> Any:
        return find(self.config, names, default, "vision")

    @property
    def patch(self) -> int:
        return _first(self.find("patch_size", "spatial_patch_size", default=16))

    @property
    def channels(self) -> int:
        found = self.find("num_channels", "in_channels", "in_chans", "num_image_channels", "image_channels", default=3)
        return found if isinstance(found, int) else found[0]

    @property
    def size(self) -> tuple[int, int]:
        found = self.find("image_size", "img_size", "crop_size", "input_size", default=64)
        if isinstance(found, dict):
            found = [found.get("height", 64), found.get("width", 64)]
        return (found, found) if isinstance(found, int) else tuple(found)[:2]

    def make_pixel_values(self) -> torch.Tensor:
        if self.rows:
            frames = self.find("temporal_patch_size", default=1)
            return self.noise(GRID * GRID, self.channels * frames * self.patch**2)
        if "spatial_shapes" in self.names:
            return self.noise(1, GRID * GRID, self.channels * self.patch**2)
        extent = (1, self.find("num_frames", default=1)) if self.extent == (1, 1) else self.extent
        return self.noise(*extent, self.channels, *self.size)

    def make_spatial_shapes(self) -> torch.Tensor:
        return torch.tensor([[GRID, GRID]])

    def make_flattened_patches(self) -> torch.Tensor:
        places = torch.arange(1, 17).unsqueeze(-1) % 4
        return torch.cat([places.to(torch.float32).expand(1, 16, 2), self.noise(1, 16, 3 * self.patch**2).float()], -1)

    def make_hidden_states(self) -> torch.Tensor:
        return self.make_pixel_values()

    def make_pixel_values_videos(self) -> torch.Tensor | None:
        if "pixel_values" in self.names:
            return None
        return self.noise(1, self.find("num_frames", "frames_per_clip", default=4), self.channels, *self.size)

    def make_image_grid_thw(self) -> torch.Tensor:
        return torch.tensor([[1, GRID, GRID]])

    make_grid_thw = make_image_grid_thw

    def make_merge_sizes(self) -> torch.Tensor:
        return torch.tensor([self.find("spatial_merge_size", default=1)])

    make_image_merge_sizes = make_merge_sizes

    def make_image_sizes(self) -> torch.Tensor | None:
        return torch.tensor([self.size]) if len(self.extent) == 2 else None

    def make_aspect_ratio_ids(self) -> torch.Tensor:
        return torch.ones(1, 1, dtype=torch.long)

    def make_aspect_ratio_mask(self) -> torch.Tensor:
        return torch.ones(1, 1, self.find("max_num_tiles", default=4), dtype=torch.long)

    def make_pixel_attention_mask(self) -> torch.Tensor | None:
        return torch.ones(1, GRID * GRID, dtype=torch.long) if "spatial_shapes" in self.names else None

    def make_prompt_pixel_values(self) -> torch.Tensor:
        return self.make_pixel_values()

    make_prompt_masks = make_prompt_pixel_values


def _first(value: Any) -> int:
    return value if isinstance(value, int) else int(value[-1])
