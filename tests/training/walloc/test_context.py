# SPDX-License-Identifier: Apache-2.0
"""Context models are trained in floats and run in integers: both say the same, and the bytes become fewer."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import isthmus
from isthmus.cli import main
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.entropy.models.context import ContextModel
from isthmus.kernels.context import passes as kernels
from isthmus.kernels.context.sums import PASSES
from isthmus.models.context import LinearContext, ScaleMixture
from isthmus.training.walloc import context as fitting
from isthmus.training.walloc.context_integers import KNOTS, LARGEST, SMALLEST, to_integers


def textured(seed: int, side: int) -> NDArray[np.int16]:
    """Two planes whose scale follows a smooth field and whose second plane follows the first."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / 9.0
    scale = np.exp(1.2 * np.sin(y + rng.uniform(0, 6)) * np.cos(x + rng.uniform(0, 6)))
    first = rng.laplace(0, 1, (side, side)) * 2 * scale
    second = 0.6 * first + rng.laplace(0, 1, (side, side)) * 0.5 * scale
    return np.rint(np.stack((first, second))).astype(np.int16)


@pytest.fixture(scope="module")
def fitted() -> tuple[LinearContext, ContextModel]:
    latents = [[textured(10 * i + j, 64) for j in range(len(KNOTS))] for i in range(4)]
    linear = fitting.fit_linear(latents, torch.device("cpu"), 240, 1, 0)
    predictor = to_integers(linear)
    return linear, ContextModel(predictor, fitting.count_tables(predictor, latents, None))


def test_integers_say_what_floats_say(fitted: tuple[LinearContext, ContextModel]) -> None:
    linear, model = fitted
    q = textured(77, 40)
    for knot, quality in enumerate(KNOTS):
        with torch.inference_mode():
            mean, scale = (t[0].numpy() for t in linear(torch.from_numpy(q)[None].float(), torch.tensor([float(knot)])))
        place = np.log2(scale / SMALLEST) / np.log2(LARGEST / SMALLEST) * kernels.SCALES
        (tile,) = model.predictor.contexts(q, quality)
        at = 0
        for c in range(2):
            for row, column in PASSES:
                part = q[c, row::2, column::2]
                n = part.size
                symbols, scales, phases = (
                    a[at : at + n].reshape(part.shape) for a in (tile.symbols, tile.scales, tile.phases)
                )
                fraction = mean[c, row::2, column::2] - np.rint(mean[c, row::2, column::2])
                d = part - np.rint(mean[c, row::2, column::2])
                same = np.where(fraction < 0, -d, d) == symbols
                assert same.mean() > 0.98  # but for means near a half, and near an integer
                near = np.abs(fraction)[same]
                assert np.abs(phases[same] - np.minimum(3, near * 8)).max() <= 1.01
                inside = same & (scale[c, row::2, column::2] < LARGEST)
                assert (np.abs(scales - np.floor(place[c, row::2, column::2]))[inside] <= 1).mean() > 0.95
                at += n


def test_as_many_pairs_as_asked_for() -> None:
    """The pairs that weigh most are kept, of means and of scales; never one of a channel and a later one."""
    torch.manual_seed(0)
    linear = LinearContext(torch.ones(6), len(KNOTS))
    torch.nn.init.uniform_(linear.mean_earlier)
    torch.nn.init.uniform_(linear.scale_earlier)
    with torch.no_grad():
        linear.mean_earlier[:, 4, 1] = 9.0
    for pairs in (30, 7, 1, 0):
        linear.prune(pairs)
        masks = [linear.get_buffer(f"{name}_mask")[..., 0, 0] for name in ("mean", "scale")]
        assert sum(int(mask.sum()) for mask in masks) == pairs
        assert not any(mask.triu().any() for mask in masks)
        assert bool(masks[0][4, 1]) == (pairs > 0)


def test_contexts_make_streams_smaller(fitted: tuple[LinearContext, ContextModel]) -> None:
    """Against the order-0 entropy of each plane, which is what the best static table of the image would cost."""
    model = fitted[1]
    q = textured(99, 64)
    floor = 0.0
    for plane in q:
        counts = np.unique(plane, return_counts=True)[1]
        floor -= (counts * np.log2(counts / counts.sum())).sum() / 8
    payload = model.encode(q, 60)
    assert len(payload) < 0.9 * floor
    assert np.array_equal(model.decode(payload, q.shape, 60)[0], q)


def test_training_lowers_the_cost() -> None:
    """The surrogate that is trained goes down, and no probability exceeds one."""
    latents = [[textured(i, 64)] * len(KNOTS) for i in range(3)]
    costs = []
    for steps in (1, 60):
        linear = fitting.fit_linear(latents, torch.device("cpu"), steps, 1, 0)
        mixture = ScaleMixture()
        q = torch.from_numpy(textured(50, 64))[None].float()
        with torch.inference_mode():
            bits = mixture(q, *linear(q, torch.tensor([2.0])))
        assert (bits >= -1e-4).all()
        costs.append(bits.mean().item())
    assert costs[1] < 0.97 * costs[0]


def test_no_training_looks_ahead() -> None:
    """The gradient of a position's mean and scale with respect to latents that are decoded later is zero."""
    torch.manual_seed(0)
    context = LinearContext(torch.ones(3), len(KNOTS))
    for p in context.parameters():
        torch.nn.init.normal_(p, std=0.05)
    order = {place: number for number, place in enumerate(PASSES)}
    q = torch.randn(1, 3, 8, 8, requires_grad=True)
    for c, y, x in ((0, 2, 2), (1, 3, 3), (2, 4, 5), (2, 3, 2)):
        mean, scale = context(q, torch.tensor([1.0]))
        (gradient,) = torch.autograd.grad(mean[0, c, y, x] + scale[0, c, y, x], q)
        for k, v, u in gradient[0].nonzero().tolist():
            assert k < c or (k == c and order[v % 2, u % 2] < order[y % 2, x % 2])


@pytest.mark.filterwarnings("ignore:.*hidden or of another kind")  # the weights lie beside the images
def test_the_command(
    tiny_weights: Path, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "fitted.safetensors"
    arguments = ["isthmus", "train", "context", str(tiny_weights.parent), "--weights", str(tiny_weights)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out), "--steps", "4", "--device", "cpu"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert not stop.value.code
    before, after = isthmus.load(str(tiny_weights)), isthmus.load(str(out))
    assert isinstance(before, WallocImageCodec) and isinstance(after, WallocImageCodec)
    assert before.weights_hash == after.weights_hash and before.weights.entropy.hash == after.weights.entropy.hash
    assert before.tables_hashes["walloc.2"] != after.tables_hashes["walloc.2"]
    data = after.encode(astronaut[:40, :40])
    assert after.pack(after.unpack(data)) == data
