# SPDX-License-Identifier: Apache-2.0
"""Entropy tables counted on images: they code those images near their order-0 entropy, and everything else too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.training.data.crops import load_rgb
from isthmus.training.walloc.tables import PRECISION, REACH, SCALES, _cluster, _smooth, fit_factorized
from isthmus.training.walloc.validation import order0_bits


def test_tables_of_a_codec(tiny: WallocImageCodec) -> None:
    entropy = tiny.weights.entropy
    assert entropy.scales == SCALES and len(entropy.family) == SCALES + 2 and entropy.family.precision == PRECISION
    assert entropy.expected.shape == (100, 5) and entropy.expected.dtype == np.uint8
    # finer quantisation spreads the latents: the usual table of a channel moves to wider ones
    assert (np.diff(entropy.expected[:, 0].astype(int)) >= 0).mean() > 0.9
    assert (entropy.expected[99] > entropy.expected[0]).all()


def test_fitting_is_reproducible(tiny: WallocImageCodec, tiny_weights: Path) -> None:
    images = [load_rgb(path) for path in sorted(tiny_weights.parent.glob("*.png"))]
    again = fit_factorized(tiny.weights.linear, images, threads=2)
    assert again.hash == tiny.weights.entropy.hash


@pytest.mark.parametrize("quality", [12, 56, 100])
def test_bytes_are_near_the_order0_entropy(shipped: WallocImageCodec, astronaut: np.ndarray, quality: int) -> None:
    latent = shipped.analyze(astronaut, quality=quality, entropy="factorized")
    payload = 8 * len(shipped.pack(latent))
    floor = order0_bits(latent.planes["y"])
    assert 0.98 * floor < payload < 1.07 * floor + 8 * 150


def test_images_of_one_colour(tiny: WallocImageCodec) -> None:
    """Tables from images without any detail still code what is not flat."""
    entropy = fit_factorized(tiny.weights.linear, [torch.full((3, 16, 16), 90, dtype=torch.uint8)])
    planes = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (5, 4, 6)).astype(np.int16)
    for quality in (1, 100):
        found, _ = entropy.decode(entropy.encode(planes, quality), planes.shape, quality)
        assert np.array_equal(found, planes)


def test_clusters_are_in_order_of_entropy() -> None:
    scales = np.geomspace(0.2, 60, 90)
    ramp = np.arange(-REACH, REACH + 1)
    p = np.exp(-np.abs(ramp) / scales[:, None])
    histograms = torch.from_numpy(np.round(4000 * p / p.sum(1, keepdims=True))).float()
    counts, assignment = _cluster(histograms)
    assert len(counts) == SCALES and all((c > 0).all() for c in counts)
    entropies = [-(q * np.log2(q)).sum() for q in (c / c.sum() for c in counts)]
    assert entropies == sorted(entropies)
    assert (np.diff(assignment) >= 0).all() and len(set(assignment.tolist())) > SCALES // 3


def test_smooth() -> None:
    counts = _smooth(np.array([0, 0, 3, -99]), 5)
    assert counts.shape == (11,) and (counts > 0).all()
    assert counts[5] > 2 and counts[8] > 1 and counts[0] > 1 and counts[10] < 0.1
