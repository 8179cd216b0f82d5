# SPDX-License-Identifier: Apache-2.0
"""The factorized model: lossless for every int16 plane, near-optimal choices, and only its own errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy.models.factorized import MAX_REACH, Choices, FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError

REACH = 40
SCALES = 12


def laplace(scale: float, reach: int) -> np.ndarray:
    return np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)


def make_model(channels: int = 3, usual: int = 5, reach: int = REACH) -> FactorizedModel:
    counts = [laplace(s, reach) for s in np.geomspace(0.1, 15, SCALES)] + [laplace(2, SCALES), laplace(1, reach)]
    family = TableFamily.from_counts(counts, [-reach] * SCALES + [-SCALES, -reach])
    return FactorizedModel(family, np.full((100, channels), usual, np.uint8))


@pytest.fixture(scope="module")
def model() -> FactorizedModel:
    return make_model()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    scale=st.sampled_from([0, 0.3, 3, 50, 40000]),
    mean=st.integers(-32768, 32767),
    quality=st.integers(1, 100),
)
def test_round_trip(
    model: FactorizedModel, seed: int, height: int, width: int, scale: float, mean: int, quality: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.laplace(mean, scale or 1e-9, (3, height, width)).round()
    planes = np.clip(values, -32768, 32767).astype(np.int16)
    payload = model.encode(planes, quality)
    found, choices = model.decode(payload, planes.shape, quality)
    assert found.dtype == np.int16 and np.array_equal(found, planes)
    assert model.encode(found, quality, choices) == payload
    assert model.encode(np.asfortranarray(planes), quality) == payload


def test_offsets_are_nearest_integers_to_the_mean(model: FactorizedModel) -> None:
    planes = np.array([[[1, 2]], [[-1, -2]], [[-7, -7]]], np.int16)
    _, offsets = model.choose(planes)
    assert offsets == (2, -1, -7)  # ties up, on every machine


def test_the_cheapest_table_is_chosen(model: FactorizedModel) -> None:
    rng = np.random.default_rng(0)
    planes = np.stack([rng.laplace(0, s, (30, 30)).round() for s in (0.2, 2, 14)]).astype(np.int16)
    tables, offsets = model.choose(planes)
    assert list(tables) == sorted(tables) and len(set(tables)) == 3
    best = len(model.encode(planes, 50))
    for channel in range(3):
        for table in range(SCALES):
            other = (*tables[:channel], table, *tables[channel + 1 :])
            assert len(model.encode(planes, 50, Choices(1, other, offsets))) >= best - 4


def test_expectations_make_choices_cheap() -> None:
    planes = np.zeros((64, 2, 2), np.int16)
    (usual, *_), _ = make_model(64).choose(planes)
    expected, surprised = (len(make_model(64, u).encode(planes, 50)) for u in (usual, SCALES - 1))
    assert expected < surprised


def test_choices_decode_whatever_they_are(model: FactorizedModel) -> None:
    planes = np.arange(-9, 9, dtype=np.int16).reshape(3, 2, 3)
    choices = Choices(4, (0, SCALES - 1, 3), (1000, -1000, 0))
    found, kept = model.decode(model.encode(planes, 7, choices), planes.shape, 7)
    assert np.array_equal(found, planes) and kept == choices


def test_the_hash_covers_tables_and_expectations() -> None:
    hashes = {make_model().hash, make_model(usual=6).hash, make_model(4).hash, make_model(reach=REACH - 1).hash}
    assert len(hashes) == 4 and make_model().hash in hashes
    assert all(len(h) == 8 and int(h, 16) >= 0 for h in hashes)


def test_payload_for_another_shape_or_quality(model: FactorizedModel) -> None:
    planes = np.random.default_rng(1).integers(-9, 9, (3, 8, 8)).astype(np.int16)
    payload = model.encode(planes, 50)
    for shape in ((3, 8, 7), (3, 9, 8), (3, 1, 1), (3, 1 << 17, 1 << 7)):
        with pytest.raises(CorruptStreamError):
            model.decode(payload, shape, 50)
    with pytest.raises(CorruptStreamError):
        model.decode(b"", planes.shape, 50)


@pytest.mark.parametrize(
    ("tables", "offsets"),
    [((SCALES, 0, 0), (0, 0, 0)), ((-1, 0, 0), (0, 0, 0)), ((0, 0, 0), (40000, 0, 0)), ((0, 0, 0), (0, 0, -(1 << 30)))],
)
def test_choices_that_do_not_exist(model: FactorizedModel, tables: tuple[int, ...], offsets: tuple[int, ...]) -> None:
    from isthmus.entropy.coders.rans import encode_segments

    chosen = np.array(tables) - model.expected[49].astype(int)
    payload = encode_segments([(chosen, SCALES), (np.array(offsets), SCALES + 1), (np.zeros(12, int), 0)], model.family)
    with pytest.raises(CorruptStreamError, match="does not exist"):
        model.decode(payload, (3, 2, 2), 50)


def test_values_beyond_sixteen_bits_are_refused(model: FactorizedModel) -> None:
    from isthmus.entropy.coders.rans import encode_segments

    usual = np.full(3, 5) - model.expected[49].astype(int)
    for value in (1 << 15, -(1 << 15) - 1, (1 << 31) - 1, -(1 << 31)):
        segments = [(usual, SCALES), (np.zeros(3, int), SCALES + 1), (np.full(3, value), 5)]
        with pytest.raises(CorruptStreamError, match="16 bits"):
            model.decode(encode_segments(segments, model.family), (3, 1, 1), 50)


@pytest.mark.parametrize(
    "expected",
    [
        np.zeros((99, 3), np.uint8),
        np.zeros((100, 0), np.uint8),
        np.zeros(100, np.uint8),
        np.zeros((100, 3), np.int64),
        np.full((100, 3), SCALES, np.uint8),
    ],
)
def test_bad_expectations(model: FactorizedModel, expected: np.ndarray) -> None:
    with pytest.raises(CorruptStreamError, match="weights file"):
        FactorizedModel(model.family, expected)


def test_bad_families() -> None:
    expected = np.zeros((100, 1), np.uint8)
    for low in ([-1, -1], [-MAX_REACH - 1, -1, -1], [MAX_REACH, -1, -1]):
        with pytest.raises(CorruptStreamError, match="weights file"):
            FactorizedModel(TableFamily.from_counts([[1, 2, 1]] * len(low), low), expected)


def test_a_small_payload_cannot_claim_many_latents() -> None:
    """A damaged header asks for more latents than the bytes can hold: refused before memory is taken for them."""
    planes = np.random.default_rng(3).laplace(0, 12, (3, 4, 4)).round().astype(np.int16)
    model = make_model(usual=SCALES - 1)
    payload = model.encode(planes, 50)
    with pytest.raises(CorruptStreamError, match="cannot hold 3 x 30000 x 30000 latents"):
        model.decode(payload, (3, 30_000, 30_000), 50)


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(0, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 30),
    scale=st.sampled_from([0.3, 3, 50, 40000]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_batch_is_as_item_by_item(
    model: FactorizedModel, items: int, height: int, width: int, scale: float, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.laplace(rng.integers(-99, 99), scale, (items, 3, height, width)).round()
    planes = np.clip(values, -32768, 32767).astype(np.int16)
    qualities = rng.integers(1, 101, items)
    payloads = model.encode_batch(planes, qualities, threads=threads)
    assert payloads == [model.encode(item, q) for item, q in zip(planes, qualities, strict=True)]
    found, choices = model.decode_batch(payloads, (3, height, width), qualities, threads=threads)
    assert found.dtype == np.int16 and np.array_equal(found, planes)
    assert choices == [model.decode(p, (3, height, width), q)[1] for p, q in zip(payloads, qualities, strict=True)]
    assert model.encode_batch(found, qualities, choices, threads=threads) == payloads


def test_a_batch_names_the_item_at_fault(model: FactorizedModel) -> None:
    from isthmus.entropy.coders.rans import encode_segments

    planes = np.random.default_rng(2).laplace(0, 2, (3, 3, 1, 1)).round().astype(np.int16)
    good = model.encode_batch(planes, 50)
    usual = np.full(3, 5) - model.expected[49].astype(int)
    zeros = np.zeros(3, int)
    far = encode_segments([(usual, SCALES), (zeros, SCALES + 1), (np.full(3, 1 << 15), 5)], model.family)
    table = encode_segments([(usual + SCALES, SCALES), (zeros, SCALES + 1), (zeros, 0)], model.family)
    offset = encode_segments([(usual, SCALES), (np.full(3, 40000), SCALES + 1), (zeros, 5)], model.family)
    cases = {b"\6" + good[1][1:]: "head", good[1][:-1]: "", good[1] + b"\0\0": "left over", b"": "cannot hold"}
    cases |= {far: "16 bits", table: "does not exist", offset: "does not exist"}
    for payload, message in cases.items():
        with pytest.raises(CorruptStreamError, match=f"item 1: .*{message}"):
            model.decode_batch([good[0], payload, good[2]], (3, 1, 1), 50)
        with pytest.raises(CorruptStreamError):
            model.decode(payload, (3, 1, 1), 50)
    with pytest.raises(CorruptStreamError, match="item 0: .* cannot hold"):
        model.decode_batch(good, (3, 1 << 20, 1 << 20), 50)


def test_wrong_arguments_of_a_batch(model: FactorizedModel) -> None:
    planes = np.zeros((2, 3, 2, 2), np.int16)
    payloads = model.encode_batch(planes, [50, 60])
    choices = [Choices(1, (0, 0, 0), (0, 0, 0))] * 2
    for bad in (planes[0], planes.astype(np.int32), planes[:, :2], planes[:, :, :0]):
        with pytest.raises(ValueError):
            model.encode_batch(bad, 50)
    for quality in (0, 101, [50], [50, 0]):
        with pytest.raises(ValueError):
            model.encode_batch(planes, quality)
        with pytest.raises(ValueError):
            model.decode_batch(payloads, (3, 2, 2), quality if quality != [50] else [50] * 3)
    for wrong in (choices[:1], [Choices(3, (0, 0, 0), (0, 0, 0))] * 2, [Choices(1, (0, 0, SCALES), (0, 0, 0))] * 2):
        with pytest.raises(ValueError):
            model.encode_batch(planes, 50, wrong)
    with pytest.raises(ValueError, match="4 channels"):
        model.decode_batch(payloads, (4, 2, 2), 50)
