# SPDX-License-Identifier: Apache-2.0
"""A trained head that another training begins with."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.models.heads.saved import digest_of, load_head
from isthmus.training.heads.saved.origin import check_origin


@dataclass
class Start:
    """Weights by name, and a digest of their file, by which a checkpoint knows them."""

    weights: dict[str, Tensor]
    digest: str

    @classmethod
    def of(cls, path: Path, head: str, latents: LatentDataset) -> "Start":
        """Raises UnreadableFileError, CorruptStreamError, and ValueError for another head or other latents."""
        trained, facts = load_head(path)
        if facts.head != head:
            raise ValueError(f"{path}: a head {facts.head}, this training is of {head}: choose the same (--head)")
        check_origin(facts.codec, str(path), latents)
        return cls(trained.state_dict(), digest_of(path))

    def give(self, head: nn.Module) -> list[str]:
        """Puts all weights whose shapes agree into a head; those of other classes stay random. What to say of it."""
        own = head.state_dict()
        kept = {name: value for name, value in self.weights.items() if value.shape == own[name].shape}
        head.load_state_dict({**own, **kept})
        left = [name for name in own if name not in kept]
        return [f"begins with it but for {', '.join(left)}, which are of other classes"] if left else []
