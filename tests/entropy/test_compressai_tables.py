# SPDX-License-Identifier: Apache-2.0
"""Tables from the buffers of compressai models, crafted here by hand in their layout."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import decode, encode
from isthmus.entropy.compressai_tables import CompressaiBottleneck, CompressaiGaussian, read_tables
from isthmus.entropy.tables.alphabet import check_inside
from isthmus.entropy.tables.family import quantize_pmf


def buffers(rows: list[np.ndarray], offset: list[int]) -> dict[str, torch.Tensor]:
    """`_quantized_cdf`, `_cdf_length` and `_offset` of weights, each row's last for the escape."""
    cdf = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
    for k, row in enumerate(rows):
        cdf[k, 1 : len(row) + 1] = np.cumsum(quantize_pmf(row, 16))
    lengths = [len(row) + 1 for row in rows]
    return {
        "_quantized_cdf": torch.from_numpy(cdf),
        "_cdf_length": torch.tensor(lengths, dtype=torch.int32),
        "_offset": torch.tensor(offset, dtype=torch.int32),
    }


def gaussian_buffers(scales: list[float]) -> dict[str, torch.Tensor]:
    """As `GaussianConditional.update_scale_table` leaves them, alphabets of 6.1 standard deviations."""
    rows, offset = [], []
    for scale in scales:
        reach = math.ceil(6.11 * scale)
        edges = [math.erfc((v - 0.5) / scale / math.sqrt(2)) / 2 for v in range(-reach, reach + 2)]
        rows.append(np.append(-np.diff(edges), 2 * edges[-1]))
        offset.append(-reach)
    more = {"scale_table": torch.tensor(scales), "scale_bound": torch.tensor([scales[0]])}
    return buffers(rows, offset) | more


def bottleneck_buffers(channels: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(channels)
    rows = [rng.random(n) ** 3 + 1e-6 for n in rng.integers(2, 30, channels)]
    quantiles = torch.from_numpy(rng.normal(size=(channels, 1, 3)).astype(np.float32))
    return buffers(rows, [-(len(row) // 2) for row in rows]) | {"quantiles": torch.nn.Parameter(quantiles)}


SCALES = np.geomspace(0.11, 256, 64).tolist()


def test_the_alphabet_and_the_cost_stay() -> None:
    source = gaussian_buffers(SCALES)
    tables = read_tables(source)
    cdf, length = source["_quantized_cdf"].numpy(), source["_cdf_length"].numpy()
    assert tables.low.tolist() == source["_offset"].tolist() and tables.size.tolist() == (length - 2).tolist()
    for k in range(64):
        p = np.diff(cdf[k, : length[k]]) / 65536
        f = tables.frequencies[tables.starts[k] : tables.starts[k] + tables.size[k] + 1]
        entropy = -(p * np.log2(p)).sum()
        bits = (p * (tables.precision - np.log2(f))).sum()
        assert bits <= entropy + 0.005 * max(entropy, 0.1)


def test_a_module_a_state_and_a_prefix_are_the_same() -> None:
    source = bottleneck_buffers(5)
    module = SimpleNamespace(**source)
    state = {f"entropy_bottleneck.{name}": value for name, value in source.items()}
    made = [
        CompressaiBottleneck.read(source),
        CompressaiBottleneck.read(module),
        CompressaiBottleneck.read(state, prefix="entropy_bottleneck."),
    ]
    assert len({bottleneck.tables.hash for bottleneck in made}) == 1
    assert read_tables(source, precision=14).precision == 14


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(0, 5), min_size=0, max_size=2), st.integers(0, 1000))
def test_bottleneck_round_trip(items: int, sides: list[int], seed: int) -> None:
    bottleneck = CompressaiBottleneck.read(bottleneck_buffers(5))
    shape = (items, 5, *sides)
    z = torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 9)
    symbols, indices = bottleneck.symbols(z), bottleneck.indices(shape)
    back = decode(encode(symbols, indices, bottleneck.tables), indices, bottleneck.tables)
    np.testing.assert_array_equal(back, symbols)
    values = bottleneck.dequantize(back)
    assert values.shape == shape and values.dtype == np.float32
    assert (np.abs(values - z.numpy()) <= 0.5 + 1e-5).all()
    medians = bottleneck.medians.reshape(-1, *[1] * len(sides))
    np.testing.assert_array_equal(values, symbols.astype(np.float32) + medians)


def test_gaussian_indices_and_means() -> None:
    model = CompressaiGaussian.read(gaussian_buffers(SCALES))
    rng = np.random.default_rng(3)
    scales = torch.from_numpy(np.exp(rng.uniform(-4, 7, (2, 3, 4))).astype(np.float32)).requires_grad_()
    table = torch.tensor(SCALES)
    expected = torch.full(scales.shape, 63)
    for s in table[:-1]:  # the rule of compressai: one less for every scale but the last that is not below
        expected -= (scales <= s).int()
    np.testing.assert_array_equal(model.indices(scales), expected)
    assert model.indices(table).tolist() == list(range(64))
    means = torch.from_numpy(rng.normal(size=(2, 3, 1)).astype(np.float32))
    y = (means + torch.randn(2, 3, 4) * scales).detach()
    symbols = model.symbols(y, means)
    np.testing.assert_array_equal(symbols, torch.round(y - means).int())
    data = encode(symbols, model.indices(scales), model.tables)
    back = model.dequantize(decode(data, model.indices(scales), model.tables), means)
    np.testing.assert_array_equal(back, torch.round(y - means) + means)
    with pytest.raises(ValueError, match="nan among 1 values"):
        model.indices([math.nan])


def test_scales_below_the_bound() -> None:
    model = CompressaiGaussian.read(gaussian_buffers(SCALES) | {"scale_bound": torch.tensor([0.5])})
    assert model.indices([0.01, 0.2, 0.5]).tolist() == [model.indices([0.5]).item()] * 3


GOOD = {"_quantized_cdf": [[0, 30000, 65536, 0], [0, 1, 2, 65536]], "_cdf_length": [3, 4], "_offset": [0, -1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_offset": None}, "there is no x._offset"),
        ({"_quantized_cdf": []}, r"x._quantized_cdf is empty; call update\(\)"),
        ({"_quantized_cdf": [0, 65536]}, "expected integers on 2 axes"),
        ({"_quantized_cdf": [[0.0, 1.0, 65536.0]] * 2}, "expected integers on 2 axes"),
        ({"_quantized_cdf": [[0, 30000, 65535, 0], [0, 1, 2, 65536]]}, "_quantized_cdf 0 does not rise"),
        ({"_quantized_cdf": [[0, 30000, 65536, 0], [0, 1, 1, 65536]]}, "_quantized_cdf 1 does not rise"),
        ({"_quantized_cdf": [[1, 30000, 65536, 0], [0, 1, 2, 65536]]}, "_quantized_cdf 0 does not rise"),
        ({"_cdf_length": [3, 5]}, "_cdf_length 3..5, expected 3..4"),
        ({"_cdf_length": [2, 4]}, "_cdf_length 2..4, expected 3..4"),
        ({"_cdf_length": [3, 2**40]}, "expected 3..4"),
        ({"_cdf_length": [3]}, "2 tables, 1 lengths and 2 offsets"),
        ({"_offset": [0, 2**25]}, "begins beyond"),
    ],
)
def test_refuses(change: dict[str, Any], message: str) -> None:
    arrays = {f"x.{k}": v if v is None else np.array(v) for k, v in (GOOD | change).items()}
    assert len(read_tables({k: np.array(v) for k, v in GOOD.items()})) == 2
    with pytest.raises(ValueError, match=message):
        read_tables(arrays, prefix="x.")


def test_refuses_other_buffers_and_shapes() -> None:
    source = bottleneck_buffers(5)
    with pytest.raises(ValueError, match="quantiles"):
        CompressaiBottleneck.read(source | {"quantiles": torch.zeros(4, 1, 3)})
    with pytest.raises(ValueError, match="there is no scale_table"):
        CompressaiGaussian.read(source)
    with pytest.raises(ValueError, match="64 rising scales"):
        CompressaiGaussian.read(gaussian_buffers(SCALES) | {"scale_table": torch.ones(63)})
    with pytest.raises(ValueError, match="scale_bound has 2 values"):
        CompressaiGaussian.read(gaussian_buffers(SCALES) | {"scale_bound": torch.ones(2)})
    bottleneck = CompressaiBottleneck.read(source)
    for shape in ((5,), (1, 4), (2, 6, 3)):
        with pytest.raises(ValueError, match="a latent of shape"):
            bottleneck.symbols(np.zeros(shape, np.float32))


def test_latents_of_any_float_and_none_that_are_no_numbers() -> None:
    bottleneck = CompressaiBottleneck.read(bottleneck_buffers(2))
    gaussian = CompressaiGaussian.read(gaussian_buffers(SCALES))
    for dtype in (torch.bfloat16, torch.float16):
        z = (torch.randn(3, 2, 4) * 5).to(dtype)
        assert np.array_equal(bottleneck.symbols(z), bottleneck.symbols(z.float()))
        assert np.array_equal(gaussian.symbols(z, z / 2), gaussian.symbols(z.float(), (z / 2).float()))
        assert np.array_equal(gaussian.indices(z.abs()), gaussian.indices(z.abs().float()))
        assert np.array_equal(
            gaussian.dequantize(gaussian.symbols(z), z), gaussian.dequantize(gaussian.symbols(z), z.float())
        )
    for bad in (math.nan, math.inf, -math.inf, 1e20):
        with pytest.raises(ValueError, match="symbols of latents: .* do not fit 32-bit integers"):
            bottleneck.symbols(torch.tensor([[[0.0], [bad]]]))
        with pytest.raises(ValueError, match="symbols of latents"):
            gaussian.symbols(torch.tensor([0.0, bad]))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="compressai tables: scales"):
            gaussian.indices(torch.tensor([bad]))


def test_check_inside_takes_integers_alone() -> None:
    tables = read_tables(bottleneck_buffers(2))
    with pytest.raises(TypeError, match="symbols are float32, expected integers"):
        check_inside(torch.tensor([math.nan], dtype=torch.bfloat16), 0, tables.low, tables.size)
