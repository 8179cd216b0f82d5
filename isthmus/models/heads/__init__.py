# SPDX-License-Identifier: Apache-2.0
"""Networks that read latents. `build_head("convnext-s", about, classes)` makes one by name.

| name | for | parameters |
|---|---|---|
| convnext-s, convnext-b | images, and sound with kernels along time | 4 and 15 million |
| sound-s | sound: patches of eight frames | 0.4 million |
| vit-s, vit-b | images and sound | 7 and 22 million |
| dense-s, dense-b | a value for every pixel | 4 and 15 million |
| clip-s, clip-b | clips of frames | 6 and 23 million |
| adapter:NAME | images, by a backbone of `isthmus.models.backbones` | its own and 2 |
| adapter:NAME@PATH | the same, entering at another of its modules | |
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from isthmus.models.backbones import BACKBONES, backbone_at, load_backbone
from isthmus.models.heads.adapter import AdaptedBackbone, check_grid, grid_of
from isthmus.models.heads.clips import ClipClassifier, ClipConfig
from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.models.heads.dense import DenseConfig, DenseHead
from isthmus.models.heads.stem import LatentInput
from isthmus.models.heads.vit import VitClassifier, VitConfig

__all__ = ["HEADS", "LatentInput", "build_head", "check_input", "check_name", "named_place"]

BIG = ConvNextConfig(widths=(144, 288, 576), depths=(3, 8, 4), drop=0.2)
# Sound has 172 frames a second, of which neighbours tell nearly the same: 46 ms become one feature at once, and
# what follows spans seconds with few weights, as sets of labelled sounds are small. What is quiet in latents of sound
# tells much, and most of them are: with fine = 10 ten times smaller ones count (benchmarks/bench_learning_sound.py).
SOUND = ConvNextConfig(widths=(48, 96, 160), depths=(1, 2, 1), patch=8, fine=10.0)
HEADS: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    "convnext-s": (ConvNextClassifier, ConvNextConfig()),
    "convnext-b": (ConvNextClassifier, BIG),
    "sound-s": (ConvNextClassifier, SOUND),
    "vit-s": (VitClassifier, VitConfig()),
    "vit-b": (VitClassifier, VitConfig(width=384, depth=12, heads=6, drop=0.2)),
    "dense-s": (DenseHead, DenseConfig()),
    "dense-b": (DenseHead, DenseConfig(BIG, width=144)),
    "clip-s": (ClipClassifier, ClipConfig()),
    "clip-b": (ClipClassifier, ClipConfig(BIG)),
}


ADAPTER = "adapter:"


def build_head(name: str, about: LatentInput, outputs: int, *, pretrained: bool = False) -> nn.Module:
    """A head by name, with random weights. outputs: classes, or values of each place. Raises ValueError.

    pretrained: of backbones, those of ImageNet; raises as `load_backbone`.
    """
    check_name(name)
    if outputs < 1:
        raise ValueError(f"head: {outputs} outputs, expected 1 or more")
    if name.startswith(ADAPTER):
        named, at = named_place(name)
        backbone = load_backbone(named, outputs, pretrained=pretrained)
        return AdaptedBackbone(backbone_at(backbone, at or backbone.place.at), about)
    kind, config = HEADS[name]
    return kind(about, outputs, config)


def check_input(name: str, about: LatentInput, grid: tuple[int, ...] | None, where: str) -> None:
    """Raises ValueError for latents `where` that a head cannot read. grid: of all of them; None where they differ."""
    check_name(name)
    if name.startswith(ADAPTER):
        place = BACKBONES[named_place(name)[0]]
        side = grid_of(place, about.cell)
        if side is not None and grid is None:
            raise ValueError(
                f"{where}: latents of several sizes, or unknown ones; {name} takes {side}x{side} cells only: transcode "
                f"with --crop {place.pixels}, or choose another head"
            )
        check_grid(where, side, grid or ())


def check_name(name: str) -> None:
    """Raises ValueError for a head that there is not."""
    known = [*HEADS, *(ADAPTER + backbone for backbone in BACKBONES)]
    if (name.partition("@")[0] if name.startswith(ADAPTER) else name) not in known:
        raise ValueError(f"head {name!r}, expected one of {', '.join(known)}")


def named_place(name: str) -> tuple[str, str | None]:
    """Of an adapter's name, the backbone's and the path of the module; None for the usual one."""
    backbone, _, at = name.removeprefix(ADAPTER).partition("@")
    return backbone, at or None
