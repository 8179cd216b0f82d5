# SPDX-License-Identifier: Apache-2.0
"""What a trained head sees in a file: an image, a sound, or a stream of its codec."""

from pathlib import Path

import torch
from torch import Tensor, nn

from isthmus.bitstream import MAGIC
from isthmus.codecs.base import Latent
from isthmus.errors import IsthmusError, UnreadableFileError, WeightsMismatchError
from isthmus.models.heads.saved import HeadFacts
from isthmus.split.reading import analyze_file, open_codec


class Predictor:
    """A head, and the codec and settings of the data set that it was trained on.

    codec: the weights file of that codec, where it neither ships nor lies `beside` the head. Raises UnknownCodecError
    where it is not at hand, WeightsMismatchError for another.
    """

    def __init__(
        self, head: nn.Module, facts: HeadFacts, *, codec: str | None = None, device: str = "cpu",
        beside: Path | None = None,
    ) -> None:  # fmt: skip
        self.head, self.facts, self.device = head.to(device).eval(), facts, torch.device(device)
        self.codec = open_codec(facts.codec, codec, beside=beside)

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
        return analyze_file(self.codec, path, self.facts.settings)

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
        return dict(zip(self.facts.names, self.facts.shares(self.out(latent)).tolist(), strict=True))

    @torch.no_grad()
    def out(self, latent: Latent) -> Tensor:
        """What the head gives for latents of its codec: float32 [outputs] or [outputs, H, W], on the CPU."""
        y: Tensor = latent.dequantize()["y"]
        found: Tensor = self.head(y[None].to(self.device)).float()[0].cpu()
        return found
