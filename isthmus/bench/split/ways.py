# SPDX-License-Identifier: Apache-2.0
"""Ways to share a network between a device and a server: what each computes of a picture, and what it sends."""

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from isthmus.models.backbones import Backbone
from isthmus.split.quantized import QuantizedFeatures
from isthmus.split.tail import Tail


class Way(ABC):
    """name: of the way; setting: of its rate. sends: whether bytes leave the device. A picture is uint8 [3, h, w]."""

    name: str
    setting: str
    sends = True

    @abstractmethod
    def compute(self, picture: Tensor) -> Any:
        """What the device computes."""

    @abstractmethod
    def pack(self, computed: Any) -> bytes:
        """What it sends."""

    @abstractmethod
    def unpack(self, data: bytes) -> Tensor:
        """What the server reads, without its batch."""

    @abstractmethod
    def answer(self, read: Tensor) -> Tensor:
        """Logits [n, classes] of a batch of it."""


@dataclass
class Split(Way):
    """A run of ours at a quality."""

    served: Tail
    quality: int
    name: str = "split"

    def __post_init__(self) -> None:
        self.setting = f"quality {self.quality}"

    def compute(self, picture: Tensor) -> Any:
        return self.served.codec.analyze(picture, quality=self.quality)

    def pack(self, computed: Any) -> bytes:
        data: bytes = self.served.codec.pack(computed)
        return data

    def unpack(self, data: bytes) -> Tensor:
        latents, errors = self.served.unpack([data])
        if errors:
            raise errors[0]
        return latents[0]

    def answer(self, read: Tensor) -> Tensor:
        return self.served.head(read).float()  # type: ignore[no-any-return]


@dataclass
class Pictures(Way):
    """Pillow's JPEG or WebP into the whole network, or raw pixels: quality 0."""

    backbone: Backbone
    name: str
    quality: int = 0

    def __post_init__(self) -> None:
        self.setting = f"quality {self.quality}" if self.quality else "as they are"

    def compute(self, picture: Tensor) -> Any:
        return picture

    def pack(self, computed: Any) -> bytes:
        array = np.ascontiguousarray(computed.permute(1, 2, 0).numpy())
        if not self.quality:
            return np.array(array.shape[:2], "<u2").tobytes() + array.tobytes()
        room = io.BytesIO()
        Image.fromarray(array).save(room, self.name, quality=self.quality)
        return room.getvalue()

    def unpack(self, data: bytes) -> Tensor:
        if self.quality:
            array = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        else:
            height, width = np.frombuffer(data[:4], "<u2").tolist()
            array = np.frombuffer(data, np.uint8, offset=4).reshape(height, width, 3)
        return torch.from_numpy(np.array(array)).permute(2, 0, 1).float()

    def answer(self, read: Tensor) -> Tensor:
        return self.backbone(read).float()


@dataclass
class Alone(Way):
    """All of the network on the device."""

    backbone: nn.Module
    name: str = "device alone"
    setting: str = ""
    sends = False

    def compute(self, picture: Tensor) -> Any:
        return self.backbone(picture[None].float()).float()[0]

    def pack(self, computed: Any) -> bytes:
        data: bytes = computed.numpy().tobytes()
        return data

    def unpack(self, data: bytes) -> Tensor:
        return torch.from_numpy(np.frombuffer(data, np.float32).copy())

    def answer(self, read: Tensor) -> Tensor:
        return read


@dataclass
class Quantized(Way):
    """Features of the whole network, rounded and coded, without any training."""

    features: QuantizedFeatures
    name: str = "quantized features"

    def __post_init__(self) -> None:
        share = f", {100 * self.features.keep:.0f} % kept" if self.features.keep < 1 else ""
        self.setting = f"{self.features.bits} bits{share}"

    def compute(self, picture: Tensor) -> Any:
        return self.features.front(picture[None].float())[0]

    def pack(self, computed: Any) -> bytes:
        return self.features.pack(computed)

    def unpack(self, data: bytes) -> Tensor:
        return self.features.unpack(data)

    def answer(self, read: Tensor) -> Tensor:
        return self.features.tail(read).float()  # type: ignore[no-any-return]
