# SPDX-License-Identifier: Apache-2.0
"""The payload `context.1`: lossless for every size, equal to its definition, and safe with any bytes."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import TableFamily
from isthmus.entropy.coders.rans import encode_segments
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.context_predictor import TILE, ContextPredictor, tiles
from isthmus.entropy.models.context_tables import ESCAPE_COST, TABLES, ContextChoices
from isthmus.errors import CorruptStreamError
from isthmus.kernels.context import choice
from isthmus.kernels.context import passes as kernels
from isthmus.kernels.context.reference import contexts
from isthmus.kernels.context.rows import MEAN_LIMIT
from isthmus.kernels.context.sums import available
from tests.entropy.models.random_context import random_arrays, random_model, random_planes


@pytest.fixture(scope="module")
def model() -> ContextModel:
    return random_model(1, 3)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale=st.sampled_from([0.2, 5.0, 300.0, 20000.0]),
    quality=st.sampled_from([1, 50, 100]),
)
def test_the_kernel_is_the_reference(
    seed: int, channels: int, height: int, width: int, scale: float, quality: int
) -> None:
    arrays = random_arrays(seed, channels, 100.0)
    planes = random_planes(seed, channels, height, width, scale)
    (tile,) = ContextPredictor(**arrays).contexts(planes, quality)
    found = zip(tile.symbols.tolist(), tile.scales.tolist(), tile.phases.tolist(), strict=True)
    low, high = -kernels.SCALES, 2 * kernels.SCALES  # beyond them no image offset matters
    expected = [(d, min(max(k, low), high), j) for d, k, j in contexts(arrays, quality, planes)]
    assert list(found) == expected


def test_sums_are_exact_up_to_the_bound() -> None:
    """Weights so large that the sums come near 2**24, where float32 would first go wrong."""
    arrays = random_arrays(5, 2, 0.0)
    arrays["mean_own"][:] = 1000 * available()
    arrays["mean_earlier"][:] = 1
    arrays["mean_shift"][:] = 0
    arrays["scale_own"][:] = 4000 * available()
    arrays["mean_bias"][:] = 7
    arrays["scale_bias"][:] = 3
    predictor = ContextPredictor(**arrays)
    assert predictor.reach("mean", MEAN_LIMIT).max() > 0.95 * 2**24
    planes = np.where(np.random.default_rng(0).random((2, 8, 8)) < 0.9, 32767, 1022).astype(np.int16)
    (tile,) = predictor.contexts(planes, 1)
    expected = [(d, k, j) for d, k, j in contexts(arrays, 1, planes)]
    assert tile.symbols.tolist() == [d for d, _, _ in expected]
    assert tile.phases.tolist() == [j for _, _, j in expected]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.one_of(st.integers(0, 20), st.integers(TILE - 1, TILE + 2)),
    width=st.one_of(st.integers(0, 20), st.integers(TILE - 1, TILE + 2)),
    scale=st.sampled_from([0.05, 1.0, 30.0, 9000.0]),
    quality=st.integers(1, 100),
)
def test_decode_is_the_inverse(
    model: ContextModel, seed: int, height: int, width: int, scale: float, quality: int
) -> None:
    planes = random_planes(seed, 3, height, width, scale)
    payload = model.encode(planes, quality)
    found, choices = model.decode(payload, planes.shape, quality)
    assert found.dtype == np.int16 and np.array_equal(found, planes)
    assert model.encode(found, quality, choices) == payload


def test_tiles_after_each_other(model: ContextModel) -> None:
    """Tiles of all sizes in turn: nothing that one leaves in memory reaches the next."""
    sizes = [(height, width) for height in range(1, 6) for width in range(1, 6)]
    arrays = [random_planes(i, 3, *size, 400.0) for i, size in enumerate(sizes)]
    payloads = [model.encode(planes, 50) for planes in arrays]
    for first, planes in enumerate(arrays):
        for size, other, payload in list(zip(sizes, arrays, payloads, strict=True))[first % 3 :: 3]:
            assert model.encode(planes, 50) == payloads[first]
            assert np.array_equal(model.decode(payload, (3, *size), 50)[0], other)


def test_image_offsets_are_the_cheapest(model: ContextModel) -> None:
    """The offsets chosen are those whose tables cost least, when every position is judged."""
    planes = random_planes(8, 3, 20, 30, 12.0)
    (tile,) = model.predictor.contexts(planes, 50)
    scales, phases, symbols = (a.reshape(3, -1) for a in (tile.scales.astype(int), tile.phases, tile.symbols))
    t, reach = model.family, range(-choice.OFFSET_REACH, choice.OFFSET_REACH + 1)

    def cost(symbol: int, table: int) -> int:
        symbol = min(max(symbol, -choice.JUDGED_REACH), choice.JUDGED_REACH)
        entry = symbol - int(t.low[table])
        inside = 0 <= entry < t.size[table]
        return int(t.costs[t.starts[table] + (entry if inside else t.size[table])]) + (0 if inside else ESCAPE_COST)

    expected = []
    for c in range(3):
        costs = [cost(offset, TABLES) for offset in reach]
        for i, offset in enumerate(reach):
            tables = np.clip(scales[c] + offset, 0, kernels.SCALES - 1) * kernels.PHASES + phases[c]
            costs[i] += sum(map(cost, symbols[c].tolist(), tables.tolist()))
        expected.append(int(np.argmin(costs)) - choice.OFFSET_REACH)
    assert model.choose([tile]).offsets == tuple(expected)


def test_planes_of_other_layouts(model: ContextModel) -> None:
    planes = random_planes(2, 3, 12, 10, 4.0)
    expected = model.encode(planes, 40)
    wide = np.zeros((3, 24, 30), np.int16)
    wide[:, ::2, 1::3] = planes
    assert model.encode(wide[:, ::2, 1::3], 40) == expected
    assert model.encode(np.asfortranarray(planes), 40) == expected
    read_only = planes.copy()
    read_only.setflags(write=False)
    assert model.encode(read_only, 40) == expected


def test_tiles_cover_every_position_once() -> None:
    for height, width in ((1, 1), (TILE, TILE + 1), (3 * TILE - 1, 2)):
        seen = np.zeros((height, width), int)
        for top, left, rows, columns in tiles(height, width):
            seen[top : top + rows, left : left + columns] += 1
        assert (seen == 1).all()
    assert list(tiles(0, 5)) == []


def test_choices_of_another_encoder_decode(model: ContextModel) -> None:
    planes = random_planes(3, 3, 9, 14, 2.0)
    for choices in (ContextChoices(4, (-6, 0, 6)), ContextChoices(32, (1, 2, 3))):
        payload = model.encode(planes, 7, choices)
        found, again = model.decode(payload, planes.shape, 7)
        assert np.array_equal(found, planes) and again == choices


def test_image_offsets_follow_the_image(model: ContextModel) -> None:
    """An image whose latents are all zero goes to narrower tables, and that makes it smaller."""
    planes = np.zeros((3, 40, 40), np.int16)
    payload = model.encode(planes, 50)
    _, choices = model.decode(payload, planes.shape, 50)
    assert len(payload) <= len(model.encode(planes, 50, ContextChoices(choices.lanes, (0, 0, 0))))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 5))
def test_damaged_payloads(model: ContextModel, data: st.DataObject, seed: int) -> None:
    planes = random_planes(seed, 3, 11, 9, 3.0)
    payload = bytearray(model.encode(planes, 30))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 1, 2, len(payload) // 2]))
    try:
        found, _ = model.decode(bytes(payload[: len(payload) - cut]), planes.shape, 30)
        assert found.shape == planes.shape
    except CorruptStreamError as error:
        assert str(error)


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=300))
def test_random_payloads(model: ContextModel, payload: bytes) -> None:
    try:
        model.decode(payload, (3, 6, 6), 30)
    except CorruptStreamError as error:
        assert str(error)


def test_shapes_that_the_payload_cannot_hold(model: ContextModel) -> None:
    payload = model.encode(random_planes(0, 3, 8, 8, 3.0), 50)
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        model.decode(payload, (3, 1 << 20, 1 << 20), 50)
    with pytest.raises(CorruptStreamError):
        model.decode(payload, (3, 8, 7), 50)
    with pytest.raises(CorruptStreamError):
        model.decode(b"", (3, 8, 8), 50)


def test_offsets_and_values_that_do_not_exist(model: ContextModel) -> None:
    far = encode_segments([(np.array([0, 7, 0]), TABLES)], model.family)
    with pytest.raises(CorruptStreamError, match="image offset"):
        model.decode(far, (3, 0, 0), 50)
    one = random_model(1, 1)
    for d in (70_000, -70_000, 2**31 - 1, -(2**31)):
        table = next(one.predictor.contexts(np.zeros((1, 1, 1), np.int16), 50))
        index = np.clip(table.scales, 0, 63) * 4 + table.phases
        payload = encode_segments([([0], TABLES), (np.array([d]), index)], one.family)
        with pytest.raises(CorruptStreamError, match="16 bits"):
            one.decode(payload, (1, 1, 1), 50)


def test_wrong_planes(model: ContextModel) -> None:
    for shape in ((2, 4, 4), (3, 4), (4, 3, 3)):
        with pytest.raises(ValueError, match="planes"):
            model.encode(np.zeros(shape, np.int16), 50)


def change(name: str, value: Any, where: Any = ...) -> dict[str, Any]:
    arrays = random_arrays(0, 3)
    arrays[name] = arrays[name].copy()
    arrays[name][where] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        (change("mean_own", 1, (0, 0, 0)), "not decoded yet"),  # pass 0 sees nothing of its own plane
        (change("scale_own", 1, (2, 3, 12)), "not decoded yet"),  # the position itself
        (change("mean_shift", 15), "fractional bits"),
        (change("mean_shift", -1), "fractional bits"),
        (change("scale_levels", 1 << 21), "beyond"),
        (change("scale_offset", -(1 << 31)), "beyond"),
        (change("mean_bias", (1 << 24), (99, 2, 3)), "2[*][*]24"),
        (change("scale_earlier", 32767), "2[*][*]24"),
        (change("mean_earlier", -32768), "2[*][*]24"),
        (random_arrays(0, 3) | {"mean_shift": np.zeros(4, np.int32)}, "mean_shift"),
        (random_arrays(0, 3) | {"mean_own": np.zeros((3, 4, 25), np.int32)}, "int32"),
        (random_arrays(0, 3) | {"scale_levels": np.zeros((2, 2), np.int32)}, "scale_levels"),
        (random_arrays(0, 3) | {"mean_own": np.zeros(5, np.int16)}, "context weights"),
    ],
)
def test_bad_models(arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(CorruptStreamError, match=told):
        ContextPredictor(**arrays)


def test_models_as_arrays(model: ContextModel) -> None:
    arrays = model.to_arrays()
    assert ContextModel.from_arrays(arrays).hash == model.hash
    for name in arrays:
        with pytest.raises(CorruptStreamError, match="lack"):
            ContextModel.from_arrays({k: v for k, v in arrays.items() if k != name})
    with pytest.raises(CorruptStreamError, match="tables"):
        ContextModel(model.predictor, TableFamily.from_counts([[1, 2]], [0]))


def test_the_hash_is_that_of_the_page(model: ContextModel) -> None:
    order = (
        "mean_own", "mean_earlier", "mean_shift", "mean_bias",
        "scale_own", "scale_earlier", "scale_bias", "scale_offset", "scale_levels",
    )  # fmt: skip
    arrays = model.to_arrays()
    inner = hashlib.sha256(b"".join(arrays[name].astype("<i4").tobytes() for name in order)).digest()
    assert model.hash == hashlib.sha256(bytes.fromhex(model.family.hash) + inner).hexdigest()[:8]
    changed = random_arrays(1, 3)
    changed["scale_bias"][50, 1, 1] += 1
    assert ContextModel(ContextPredictor(**changed), model.family).hash != model.hash
