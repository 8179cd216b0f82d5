# SPDX-License-Identifier: Apache-2.0
"""Fits the context model of a trained codec: linear contexts by gradient, then integers, then counted tables."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.context_predictor import ContextPredictor
from isthmus.entropy.models.context_tables import TABLES
from isthmus.entropy.tables.family import TableFamily
from isthmus.kernels.context.choice import OFFSET_REACH
from isthmus.kernels.context.passes import PHASES, SCALES
from isthmus.models.context import LinearContext, ScaleMixture
from isthmus.optim.schedule import one_cycle
from isthmus.progress import Progress, each
from isthmus.training.walloc.context_integers import KNOTS, to_integers
from isthmus.training.walloc.tables import Analyze

BATCH = 32
PRUNED_AFTER = 0.5  # of the steps
PAIRS = 5  # earlier channels a channel, on average: each costs time for every position
CROP = 48  # latent positions a side
RATE = 3e-3  # Adam, one cycle
REACH = 511  # counts beyond are escapes
PRECISION, LONGEST = 12, 255  # of the tables: entries that fit a byte leave more of them in a core's cache
PRIOR = 4.0  # symbols' worth of the scale's phases together, added to each table


def fit_context(
    analyze: Analyze,
    images: Sequence[Tensor],
    *,
    device: torch.device,
    steps: int,
    pairs: int = PAIRS,
    seed: int = 0,
) -> ContextModel:
    """The context model of a codec, from images uint8 [3, H, W]: about a minute on a GPU, ten on two CPU cores.

    analyze: an image at a quality to its latents.
    pairs: earlier channels that a channel may look at, in its mean and in its scale together, on average.
    """
    shown = each(images, "images", what="latents")
    latents = [[analyze(image, q) for q in KNOTS] for image in shown]
    predictor = to_integers(fit_linear(latents, device, steps, pairs, seed).cpu())
    family = count_tables(predictor, latents[::3], None)
    # Counted once more with the image offsets that the first tables choose: what encoders will send.
    return ContextModel(predictor, count_tables(predictor, latents, ContextModel(predictor, family)))


def typical_magnitudes(latents: list[list[NDArray[np.int16]]]) -> Tensor:
    """Mean distance of each channel from its mean, over images and qualities: float32 [c]."""
    magnitudes = [np.abs(q - q.mean((1, 2), keepdims=True)).mean((1, 2)) for image in latents for q in image]
    return torch.from_numpy(np.mean(magnitudes, axis=0)).float().clamp_min(0.05)


def fit_linear(
    latents: list[list[NDArray[np.int16]]], device: torch.device, steps: int, pairs: int, seed: int
) -> LinearContext:
    """Gradient descent on the bits of random crops; each quality in turn, weighted by the inverse of its rate."""
    typical = typical_magnitudes(latents)
    torch.manual_seed(seed)
    context = LinearContext(typical, len(KNOTS)).to(device)
    mixture = ScaleMixture().to(device)
    parameters = [*context.parameters(), *mixture.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE)
    schedule = one_cycle(optimizer, RATE, steps)
    on_device = [[torch.from_numpy(q).to(device) for q in image] for image in latents]
    generator = np.random.default_rng(seed)
    shown = Progress(steps, "steps", what="context model")
    for step in range(steps):
        if step == int(PRUNED_AFTER * steps):
            context.prune(pairs * len(typical))
        knot = step % len(KNOTS)
        q = crops_of([image[knot] for image in on_device], generator)
        mean, scale = context(q, torch.full((BATCH,), float(knot), device=device))
        bits = mixture(q, mean, scale).mean()
        loss = bits / (0.05 + bits.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        told = f"quality {KNOTS[knot]}: {bits.item():.4f} bits a latent" if step % 100 == 0 else None
        shown.update(note=told)
    shown.close()
    return context


def crops_of(planes: list[Tensor], generator: np.random.Generator) -> Tensor:
    """[BATCH, c, CROP, CROP] float32; zeros where an image is smaller, as beyond its border."""
    batch = torch.zeros(BATCH, planes[0].shape[0], CROP, CROP, dtype=torch.int16, device=planes[0].device)
    for i in range(BATCH):
        q = planes[generator.integers(len(planes))]
        top, left = (int(generator.integers(max(1, n - CROP + 1))) for n in q.shape[1:])
        crop = q[:, top : top + CROP, left : left + CROP]
        batch[i, :, : crop.shape[1], : crop.shape[2]] = crop
    return batch.float()


def count_tables(
    predictor: ContextPredictor, latents: list[list[NDArray[np.int16]]], chosen_by: ContextModel | None
) -> TableFamily:
    """Tables counted on all `latents`, with the image offsets that a first model chooses."""
    width = 2 * REACH + 1
    counts = np.zeros(TABLES * width, np.int64)
    offset_counts = np.exp(-np.abs(np.arange(-OFFSET_REACH, OFFSET_REACH + 1)) / 2.0)
    for planes, quality in each(_each(latents), "planes", what="counting", total=len(latents) * len(KNOTS)):
        found = list(predictor.contexts(planes, quality))
        offsets = np.array(chosen_by.choose(found).offsets) if chosen_by else np.zeros(len(planes), np.int64)
        np.add.at(offset_counts, offsets + OFFSET_REACH, 1)
        for tile in found:
            scales = tile.scales.reshape(len(planes), -1) + offsets[:, None]
            tables = np.clip(scales, 0, SCALES - 1).reshape(-1).astype(np.int64) * PHASES + tile.phases
            places = tables * width + np.clip(tile.symbols, -REACH, REACH) + REACH
            counts += np.bincount(places, minlength=len(counts))
    rows = smooth_counts(counts.reshape(SCALES, PHASES, width))
    low = [-REACH] * TABLES + [-OFFSET_REACH]
    return TableFamily.from_counts([*rows, offset_counts], low, precision=PRECISION, longest=LONGEST)


def _each(latents: list[list[NDArray[np.int16]]]) -> Iterator[tuple[NDArray[np.int16], int]]:
    for image in latents:
        yield from zip(image, KNOTS, strict=True)


def smooth_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts [scale, phase, symbol] to weights [scale * phase, symbol]: rare tables lean on their scale and on Laplace.

    A Laplace distribution of the scale's own mean magnitude, or of its neighbour's where nothing was counted.
    """
    value = np.abs(np.arange(-REACH, REACH + 1))
    together = counts.sum(1).astype(np.float64)  # [scale, symbol]
    spread = 0.02
    for k, row in enumerate(together):
        spread = max(spread, (row * value).sum() / row.sum()) if row.sum() > 100 else spread
        laplace = np.exp(-value / max(0.2, spread))
        together[k] = row + laplace / laplace.sum()
    prior = together / together.sum(1, keepdims=True)
    weights: NDArray[np.float64] = (counts + PRIOR * prior[:, None]).reshape(TABLES, -1)
    return weights
