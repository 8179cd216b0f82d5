# SPDX-License-Identifier: Apache-2.0
"""Photographs for distillation: random views of them, mixtures of two, in worker processes."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, Sampler

from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.datasets.views import views_of
from isthmus.errors import IsthmusError
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.heads.batches import EndlessBatches

TRIES = 100  # photographs in a row that cannot be read, after which none is looked for
TWIST = np.log(4 / 3)  # of the sides of what is shown, at most
Pixels = NDArray[np.uint8]  # [H, W, 3]
Place = tuple[int, int]  # number of a sample in the training, index of its photograph


class Steps(Sampler[list[Place]]):
    """Batches from step `first` on, for ever, each sample with its number, from which its view is drawn.

    Of `size` processes each takes its part: `rank`. Raises ValueError for batches that have no equal parts.
    """

    def __init__(
        self, places: NDArray[np.int64], recipe: AdapterRecipe, first: int, rank: int = 0, size: int = 1
    ) -> None:
        self.order = EndlessBatches(places, recipe.batch, recipe.seed, rank=rank, world=size)
        self.batch, self.first, self.part = recipe.batch, first, slice(rank, None, size)

    def __iter__(self) -> Iterator[list[Place]]:
        step = self.first
        while True:
            places = enumerate(self.order.step(step).tolist(), step * self.batch)
            yield list(places)[self.part]
            step += 1


class RandomViews(Dataset[dict[str, Any]]):
    """Views of photographs: `size` x `size` pixels of a random part, flipped left to right at times.

    Takes pairs of `Steps`; the same pair gives the same pixels. A photograph that cannot be read is named, and the next
    one stands for it. places: of those that are shown; None: all.
    """

    def __init__(self, source: AnalysedSource, recipe: AdapterRecipe, places: NDArray[np.int64] | None = None) -> None:
        self.source, self.recipe, self.labels = source, recipe, source.labels()
        self.places = np.arange(len(source)) if places is None else places
        self._named: set[int] = set()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        number, index = place
        chance = np.random.default_rng([self.recipe.seed, 1, number])
        image, index = self.readable(index)
        pixels = random_part(image, self.recipe.area, self.recipe.size, chance)
        return {"number": number, "pixels": pixels, "label": int(self.labels[index])}

    def readable(self, index: int) -> tuple[Pixels, int]:
        """A photograph and its index; the next one that can be read where it cannot. Raises the error of the last."""
        first = int(np.searchsorted(self.places, index))
        for step in range(min(TRIES, len(self.places))):
            index = int(self.places[(first + step) % len(self.places)])
            try:
                return whole(self.source, index), index
            except (IsthmusError, ValueError) as error:
                if index not in self._named:
                    self._named.add(index)
                    print(f"isthmus: {error}; left out of the training", file=sys.stderr, flush=True)
                last = error
        raise last

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """pixels uint8 [n, 3, size, size]; label, partner's label [n]; share: of the sample itself in its mixture."""
        chance = np.random.default_rng([self.recipe.seed, 2, samples[0]["number"]])
        pixels = np.stack([sample["pixels"] for sample in samples])
        labels = np.array([sample["label"] for sample in samples])
        share = 1.0
        if chance.random() < self.recipe.mixup:
            share = float(chance.uniform(0.5, 1))
            mixed = share * pixels.astype(np.float32) + (1 - share) * np.roll(pixels, 1, 0)
            pixels = (mixed + 0.5).astype(np.uint8)
        tensors = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), torch.from_numpy(labels)
        return {"pixels": tensors[0], "label": tensors[1], "partner": tensors[1].roll(1), "share": share}


def whole(source: AnalysedSource, index: int) -> Pixels:
    """A photograph in colour. Raises UnreadableFileError."""
    image, _ = source.read(index)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def middle(source: AnalysedSource, index: int) -> Pixels:
    """What a kept-out photograph shows: as `transcode` resizes and crops it."""
    image = whole(source, index)
    return next(iter(views_of(np.ascontiguousarray(image), source.settings, "")))[1]


def random_part(image: Pixels, area: float, size: int, chance: np.random.Generator) -> Pixels:
    """A random rectangle of at least a share `area` of an image, as `size` x `size` pixels (bicubic, antialiased)."""
    height, width = image.shape[:2]
    share, twist = chance.uniform(area, 1), np.exp(chance.uniform(-TWIST, TWIST))
    pixels = height * width * share
    wide = min(width, np.sqrt(pixels * twist))
    high = min(height, pixels / wide)
    wide = min(width, pixels / high)
    left, top = chance.uniform(0, width - wide), chance.uniform(0, height - high)
    box = (left, top, left + wide, top + high)
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2)
    made = np.asarray(picture)
    return made[:, ::-1] if chance.random() < 0.5 else made
