# SPDX-License-Identifier: Apache-2.0
"""Any network of pictures in two: a head that makes bytes of them, and a tail that makes logits of bytes."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.codecs.batching import named_by_place
from isthmus.codecs.bottlefit.codec import BottlefitCodec
from isthmus.codecs.bottlefit.weights import save_weights
from isthmus.codecs.registry import OF_RUN, load
from isthmus.codecs.trained import identity_of
from isthmus.codecs.trained_file import hash_tensors
from isthmus.models.backbones import IMAGENET_MEAN, IMAGENET_STD, backbone_at
from isthmus.models.bottleneck import BottleneckConfig
from isthmus.models.heads.adapter import AdaptedBackbone
from isthmus.models.heads.saved import OWN, HeadFacts, digest_of, load_head, save_head
from isthmus.split.beginning import input_of, weights_at_first
from isthmus.split.reading import open_codec
from isthmus.split.tail import Tail

SHOWN = 7 / 8  # of a picture's shorter side, as ImageNet's are judged


class SplitModel:
    """A device calls `head`, a server `tail`; between them are the bytes of one stream a picture.

    model: takes pictures [n, 3, h, w] and gives logits [n, classes]; its weights are copied. at: the path of the module
    whose output the tail makes of what was sent. bottleneck: "bottlefit", a small network for the device, or the name
    or file of a codec of images, whose analysis then is all that the device computes. channels: of a bottlefit. mean,
    std: what the model wants taken from pixels 0..255, and what they are divided by then. size: pixels along each side
    of the pictures that it is for. Untrained it sends and says something, but nothing of use: `train_split` of
    `isthmus.training.split`.

    codec: makes the bytes. network: latents to logits. facts: what a server tells devices.

    Raises ValueError for a path that is not there, for features that are no grid, for logits that are no tensor.
    """

    def __init__(
        self, model: nn.Module, at: str, bottleneck: str = "bottlefit", channels: int = 12, *,
        mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD, size: int = 224,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        backbone = backbone_at(deepcopy(model), at, mean=mean, std=std, size=size)
        self.codec: Any = (
            BottlefitCodec(OF_RUN, weights_at_first(BottleneckConfig(channels), size), "cpu")
            if bottleneck == "bottlefit"
            else load(bottleneck)
        )
        about = input_of(self.codec, size)
        self.network: nn.Module = AdaptedBackbone(backbone, about).eval()
        with torch.no_grad():
            side = -(-size // about.cell)
            outputs = self.network(torch.zeros(1, about.channels, side, side)).shape[1]
        told = identity_of(self.codec)
        self.facts = HeadFacts(
            "classify", f"{OWN}{type(model).__name__}@{at}", about, outputs, None,
            told,
            {"codec": told["name"], "weights": told["weights_hash"], "kind": "image", "resize": round(size / SHOWN),
             "crop": size},
        )  # fmt: skip
        self.to(device)

    def to(self, device: str) -> "SplitModel":
        """Places the tail. Raises ValueError for a device that is not there."""
        self.served = Tail(self.network, self.facts, self.codec, hash_tensors(self.network.state_dict()) * 2, device)
        return self

    def head(self, images: Any, **options: Any) -> Any:
        """Bytes of a picture, or a list of those of a batch: whatever `codec.encode` takes, and its options."""
        return self.codec.encode(images, **options)

    def tail(self, data: bytes | Sequence[bytes]) -> Tensor:
        """Logits float32 [classes] of bytes; [n, classes] of n of them.

        Raises CorruptStreamError for what is broken or too large, WeightsMismatchError for streams of another codec.
        """
        single = isinstance(data, bytes | bytearray | memoryview)
        streams: Any = [data] if single else list(data)
        latents, errors = self.served.unpack(streams)
        for place, error in errors.items():
            raise error if single else named_by_place(error, place, len(streams))
        logits = torch.zeros(len(streams), self.facts.outputs)
        for shape in {latent.shape for latent in latents}:
            places = [place for place, latent in enumerate(latents) if latent.shape == shape]
            logits[places] = self.served.logits(torch.stack([latents[place] for place in places]))
        return logits[0] if single else logits

    def save(self, folder: Path | str) -> Path:
        """Writes a run: head.safetensors, and codec.safetensors where the codec does not ship.

        Raises UnwritableFileError.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.codec, BottlefitCodec):
            save_weights(folder / OF_RUN, self.codec.weights)
        return save_head(folder, self.facts, self.network.state_dict())

    @classmethod
    def load(
        cls, run: Path | str, model: nn.Module | None = None, *, codec: str | None = None, device: str = "cpu"
    ) -> "SplitModel":
        """What was saved or trained. model: the network, where that is none of isthmus; its weights are not used.

        codec: the weights file of the codec, where that neither ships nor lies in the run. Raises UnreadableFileError,
        CorruptStreamError, UnknownCodecError, WeightsMismatchError, and ValueError as the class.
        """

        def build(facts: HeadFacts) -> nn.Module:
            assert model is not None
            size, at = facts.settings.get("crop") or 224, facts.head.partition("@")[2]
            return AdaptedBackbone(backbone_at(deepcopy(model), at, size=size), facts.input)

        path, found = Path(run), cls.__new__(cls)
        found.network, found.facts = load_head(path, None if model is None else build)
        found.codec = open_codec(found.facts.codec, codec, beside=path)
        found.to(device)
        found.served.hash = digest_of(path)
        return found
