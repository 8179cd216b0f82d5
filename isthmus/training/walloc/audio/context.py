# SPDX-License-Identifier: Apache-2.0
"""Fits the contexts of a codec of sound: taps by gradient, integers of them, then tables of what encoders choose."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.types import Float32, Int16
from isthmus.codecs.walloc.audio.encoder import WORTH
from isthmus.codecs.walloc.audio.unit import UNIT_FRAMES
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_tables import TABLES
from isthmus.entropy.tables.family import TableFamily
from isthmus.kernels import threads
from isthmus.kernels.context.choice import OFFSET_REACH
from isthmus.kernels.context.passes import PHASES, SCALES
from isthmus.models.causal import CausalContext
from isthmus.models.context import ScaleMixture
from isthmus.models.walloc.audio import quantize
from isthmus.models.walloc.audio_linear import AudioLinear
from isthmus.models.walloc.noise import LOOKED_AT, NOISE_FRAMES, level_differences, measure_noise
from isthmus.optim.schedule import one_cycle
from isthmus.progress import Progress, each
from isthmus.training.walloc.audio.context_integers import to_integers
from isthmus.training.walloc.context import LONGEST, PRECISION, PRUNED_AFTER, RATE, REACH, smooth_counts
from isthmus.training.walloc.context_integers import KNOTS

POSITIONS = 6144  # in time, of a step
TAPS = 40  # of a plane, for its mean and its scale together, on average: each costs time for every position
NOISE_TAPS = 16

Planes = list[list[Int16]]  # [c, T] of each sound at each of KNOTS


def fit_causal(
    linear: AudioLinear, sounds: Sequence[Float32], *, device: torch.device, steps: int, taps: int = TAPS, seed: int = 0
) -> tuple[CausalModel, CausalModel]:
    """The context models of a codec, of latents and of noise: ten minutes on two cores.

    sounds: float32 [2, T] as the codec scales them; shorter ones than a few frames are left out.
    """
    least = 2 * linear.config.bank.analysis.shape[1]
    sounds = [x for x in sounds if x.shape[1] >= least]
    values = [latents_of(linear, x) for x in each(sounds, "sounds", what="latents")]
    rounded = [[quantize(torch.from_numpy(y)[None])[0].to(torch.int16).numpy() for y in knots] for knots in values]
    predictor = to_integers(fit_taps(rounded, UNIT_FRAMES, device, steps, taps, seed).cpu())
    model = CausalModel(predictor, count_tables(predictor, rounded, UNIT_FRAMES, None))
    chosen = rounded
    for _ in range(2):  # counted again on what the encoder chooses by the tables before
        chosen = choose_all(model, linear, values)
        model = CausalModel(predictor, count_tables(predictor, chosen, UNIT_FRAMES, model))
    return model, fit_noise(linear, sounds, chosen, device=device, steps=steps, seed=seed)


def fit_noise(
    linear: AudioLinear,
    sounds: Sequence[Float32],
    chosen: Planes,
    *,
    device: torch.device,
    steps: int,
    taps: int = NOISE_TAPS,
    seed: int = 0,
) -> CausalModel:
    """The context model of levels of noise beside latents that were chosen, as `choose_all` gives them."""
    unit = UNIT_FRAMES // NOISE_FRAMES
    planes = [noise_of(linear, x, knots) for x, knots in zip(sounds, chosen, strict=True)]
    predictor = to_integers(fit_taps(planes, unit, device, steps, taps, seed).cpu())
    first = CausalModel(predictor, count_tables(predictor, planes, unit, None))
    return CausalModel(predictor, count_tables(predictor, planes, unit, first))


def _blocks(linear: AudioLinear, sound: Float32) -> Float32:
    hop = linear.config.factor
    return np.ascontiguousarray(sound[:, : sound.shape[1] // hop * hop])


def latents_of(linear: AudioLinear, sound: Float32) -> list[Float32]:
    """Latents over their gain, real numbers, of the frames that lie wholly inside a sound: [c, T] for each of KNOTS."""
    first = linear.analyze(_blocks(linear, sound), KNOTS[0]) / linear.gain(KNOTS[0])[:, None]
    return [first * linear.gain(q)[:, None] for q in KNOTS]


def noise_of(linear: AudioLinear, sound: Float32, knots: list[Int16]) -> list[Int16]:
    """What is coded of the levels of noise of the whole units of a sound, at each of KNOTS."""
    blocks, found = _blocks(linear, sound), []
    for quality, y in zip(KNOTS, knots, strict=True):
        missed = linear.missed(blocks, y, quality, LOOKED_AT)
        each = UNIT_FRAMES // LOOKED_AT
        units = range(max(1, y.shape[1] // UNIT_FRAMES))
        parts = [missed[:, u * each : (u + 1) * each] for u in units]
        channels = linear.config.signal_channels
        levels = [measure_noise(p, min(UNIT_FRAMES, y.shape[1]), channels) for p in parts]
        found.append(np.concatenate([level_differences(x) for x in levels], 1))
    return found


def fit_taps(latents: Planes, unit: int, device: torch.device, steps: int, taps: int, seed: int) -> CausalContext:
    """Gradient descent on the bits of random units; each quality in turn, weighted by the inverse of its rate."""
    planes = [[torch.from_numpy(q).float() for q in knots] for knots in latents]
    means = torch.stack([torch.stack([q.mean(1) for q in knots]) for knots in planes]).mean(0)  # [knots, c]
    spread = [(q - q.mean(1, keepdim=True)).abs().mean(1) for knots in planes for q in knots]
    typical = torch.stack(spread).mean(0).clamp_min(0.05)
    torch.manual_seed(seed)
    context, mixture = CausalContext(typical, len(KNOTS), min(15, unit - 1)).to(device), ScaleMixture().to(device)
    with torch.no_grad():
        context.mean_bias.copy_(means / typical)
    parameters = [*context.parameters(), *mixture.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE)
    schedule = one_cycle(optimizer, RATE, steps)
    generator = np.random.default_rng(seed)
    shown = Progress(steps, "steps", what="context model")
    for step in range(steps):
        if step == int(PRUNED_AFTER * steps):
            context.prune(taps * len(typical))
        knot = step % len(KNOTS)
        q = _units([knots[knot] for knots in planes], unit, generator).to(device)
        bits = mixture(q, *context(q, knot)).mean()
        loss = bits / (0.05 + bits.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        told = f"quality {KNOTS[knot]}: {bits.item():.4f} bits a latent" if step % 100 < len(KNOTS) else None
        shown.update(note=told)
    shown.close()
    return context


def _units(planes: list[Tensor], unit: int, generator: np.random.Generator) -> Tensor:
    """[POSITIONS / unit, c, unit] float32, sounds in proportion to their length; zeros behind their ends."""
    share = np.array([q.shape[1] for q in planes], np.float64)
    batch = torch.zeros(POSITIONS // unit, planes[0].shape[0], unit)
    for i, which in enumerate(generator.choice(len(planes), len(batch), p=share / share.sum())):
        first = int(generator.integers(max(1, planes[which].shape[1] - unit + 1)))
        crop = planes[which][:, first : first + unit]
        batch[i, :, : crop.shape[1]] = crop
    return batch


def _cut(planes: Float32 | Int16, unit: int) -> list[np.ndarray]:
    """[c, T] in units."""
    return [np.ascontiguousarray(planes[:, i : i + unit]) for i in range(0, planes.shape[1], unit)]


def choose_all(model: CausalModel, linear: AudioLinear, values: list[list[Float32]]) -> Planes:
    """What the encoder makes of latents, by the bits that `model` says."""

    def one(knots: list[Float32]) -> list[Int16]:
        found = []
        for quality, y in zip(KNOTS, knots, strict=True):
            centres = linear.step(quality) * linear.gain(quality)
            found.append(np.concatenate([model.choose(u, centres, quality, WORTH) for u in _cut(y, UNIT_FRAMES)], 1))
        return found

    return threads.run(one, values, torch.get_num_threads())


def count_tables(predictor: CausalPredictor, latents: Planes, unit: int, chosen_by: CausalModel | None) -> TableFamily:
    """Tables counted on all `latents`, with the image offsets that a model before chooses."""
    width = 2 * REACH + 1
    counts = np.zeros(TABLES * width, np.int64)
    offset_counts = np.exp(-np.abs(np.arange(-OFFSET_REACH, OFFSET_REACH + 1)) / 2.0)
    for knots in each(latents, "sounds", what="counting"):
        for quality, planes in zip(KNOTS, knots, strict=True):
            for part in _cut(planes, unit):
                symbols, contexts = predictor.contexts(part, quality)
                offsets = np.zeros(len(part), np.int64)
                if chosen_by:
                    offsets[:] = chosen_by.choose_offsets(len(part), [(symbols, contexts)]).offsets
                np.add.at(offset_counts, offsets + OFFSET_REACH, 1)
                scales = np.clip((contexts >> 3) - SCALES + offsets[:, None], 0, SCALES - 1).astype(np.int64)
                tables = scales * PHASES + (contexts >> 1 & PHASES - 1)
                place = tables * width + np.clip(symbols, -REACH, REACH) + REACH
                counts += np.bincount(place.reshape(-1), minlength=len(counts))
    rows = smooth_counts(counts.reshape(SCALES, PHASES, width))
    low = [-REACH] * TABLES + [-OFFSET_REACH]
    return TableFamily.from_counts([*rows, offset_counts], low, precision=PRECISION, longest=LONGEST)
