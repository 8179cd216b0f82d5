# SPDX-License-Identifier: Apache-2.0
"""What a trained head sees in a file: an image, a sound, or a stream of its codec."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.bitstream import MAGIC
from isthmus.codecs.base import Latent
from isthmus.codecs.registry import load
from isthmus.datasets.settings import Settings
from isthmus.datasets.views import views_of
from isthmus.errors import IsthmusError, UnknownCodecError, UnreadableFileError, WeightsMismatchError
from isthmus.media import kinds
from isthmus.training.heads.saved import HeadFacts


class Predictor:
    """A head, and the codec and settings of the data set that it was trained on.

    codec: the weights file of that codec, where it does not ship. Raises UnknownCodecError where it is not at hand,
    WeightsMismatchError for another.
    """

    def __init__(self, head: nn.Module, facts: HeadFacts, *, codec: str | None = None, device: str = "cpu") -> None:
        self.head, self.facts, self.device = head.to(device).eval(), facts, torch.device(device)
        named = codec or str(facts.codec["name"])
        try:
            self.codec: Any = load(named)
        except (UnknownCodecError, UnreadableFileError) as error:
            raise type(error)(f"{error}; name the weights file of the head's data set (--codec)") from None
        told, own = facts.codec.get("weights_hash"), getattr(self.codec, "weights_hash", None)
        if own != told:
            raise WeightsMismatchError(
                f"{named} has weights {own}, the head's latents are of {told} ({facts.codec.get('name')})"
            )
        self.settings = Settings(**{**facts.settings, "views": ()})

    def file(self, path: Path) -> dict[str, float]:
        """Shares by class, of a file; raises what `read` raises."""
        return self.latent(self.read(path))

    def read(self, path: Path) -> Latent:
        """The latents of a file. Raises UnreadableFileError, WeightsMismatchError, CorruptStreamError."""
        if path.is_dir():
            raise UnreadableFileError(f"{path}: is a folder; name the files in it, as {path}/*")
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
        if head == MAGIC:
            return self._unpacked(path)
        options = dict(self.settings.options)
        samples, told = kinds.read(path, self.settings.kind, options)
        if self.settings.kind == "image":
            try:
                _, samples = next(iter(views_of(samples, self.settings, path.name)))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        latent: Latent = self.codec.analyze(samples, **told, **options)
        return latent

    def _unpacked(self, path: Path) -> Latent:
        try:
            latent: Latent = self.codec.unpack(path.read_bytes())
        except WeightsMismatchError as error:
            raise WeightsMismatchError(f"{path}: the head reads latents of {self.codec.name}: {error}") from error
        except IsthmusError as error:
            raise type(error)(f"{path}: {error}") from error
        return latent

    def latent(self, latent: Latent) -> dict[str, float]:
        """Shares by class, of latents of the head's codec; of several tags each its own, which sum to no 1."""
        out = self.out(latent)
        shares = (out.sigmoid() if "tags" in self.facts.asked else out.softmax(0)).tolist()
        names = self.facts.classes or [str(n) for n in range(self.facts.outputs)]
        return dict(zip(names, shares, strict=True))

    @torch.no_grad()
    def out(self, latent: Latent) -> Tensor:
        """What the head gives for latents of its codec: float32 [outputs] or [outputs, H, W], on the CPU."""
        y: Tensor = latent.dequantize()["y"]
        found: Tensor = self.head(y[None].to(self.device)).float()[0].cpu()
        return found
