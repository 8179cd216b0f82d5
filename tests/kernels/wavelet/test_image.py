# SPDX-License-Identifier: Apache-2.0
"""Images to quantised latents and back: the definition, and the same bits for every strip and thread."""

import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import threads
from isthmus.kernels.wavelet import image as image_transform
from isthmus.kernels.wavelet import reference as wavelet_reference
from isthmus.kernels.wavelet.image import analyze_bands, analyze_quantized, synthesize_image, synthesize_linear
from isthmus.kernels.wavelet.linear import apply_linear

SIDES = st.one_of(st.sampled_from([1, 2, 7, 8, 9, 63, 64, 65]), st.integers(1, 150))


def picture(channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes, edges and grain over the full range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 17.0
    waves = [np.sin(x * rng.normal() + y * rng.normal() + rng.normal()) for _ in range(channels)]
    edges = (np.sin(x * 0.7) * np.cos(y * 0.9) > 0.3) * 0.8
    return np.clip(
        127.5 + 110 * (np.array(waves) + edges) + rng.normal(0, 6, (channels, height, width)), 0, 255
    ).astype(np.uint8)


def weights(outputs: int, inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((outputs, inputs), dtype=np.float32)
    bias = rng.standard_normal(outputs, dtype=np.float32)
    return weight, bias, rng.uniform(0.5, 3, outputs).astype(np.float32)


def mirror(n: int, padded: int) -> np.ndarray:
    period = max(1, 2 * (n - 1))
    return (
        np.minimum(np.arange(padded) % period, period - np.arange(padded) % period) if n > 1 else np.zeros(padded, int)
    )


def reference_bands(image: np.ndarray, levels: int) -> np.ndarray:
    _, height, width = image.shape
    padded = [-(-n // 2**levels) * 2**levels for n in (height, width)]
    image = image[:, mirror(height, padded[0])][:, :, mirror(width, padded[1])]
    return wavelet_reference.analyze_packet(image.astype(np.float32) - np.float32(127.5), levels, gain=1 / 127.5)


def reference_linear(bands: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    values = np.repeat(bias, bands[0].size).reshape(len(bias), *bands.shape[1:])
    for k in range(len(bands)):
        values = values + weight[:, k, None, None] * bands[k]
    return values


def reference_quantize(values: np.ndarray, offset: float) -> np.ndarray:
    quantised = np.sign(values) * np.floor(np.abs(values) + np.float32(offset))
    return np.clip(quantised, -32768, 32767).astype(np.int16)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(0, 3), st.integers(1, 3), st.integers(1, 30), st.sampled_from([1, 5, 12, 26]))
def test_latent_is_the_composition_of_the_references(
    height: int, width: int, levels: int, channels: int, strip_rows: int, outputs: int
) -> None:
    image = picture(channels, height, width, height * 151 + width)
    weight, bias, gain = weights(outputs, channels * 4**levels)
    expected = reference_bands(image, levels)
    assert np.array_equal(analyze_bands(image, levels, strip_rows=strip_rows), expected)
    values = reference_linear(expected, weight, bias)
    assert np.array_equal(apply_linear(expected, weight, bias), values)
    latent = analyze_quantized(image, weight, bias, gain, 0.4, levels, strip_rows=strip_rows)
    assert latent.dtype == np.int16
    assert np.array_equal(latent, reference_quantize(values * gain[:, None, None], 0.4))


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.integers(0, 3), st.integers(1, 20), st.integers(2, 4))
def test_bits_depend_neither_on_strips_nor_on_threads(
    height: int, width: int, levels: int, strip_rows: int, workers: int
) -> None:
    image = picture(3, height, width, height * 151 + width)
    weight, bias, gain = weights(8, 3 * 4**levels)
    latent = analyze_quantized(image, weight, bias, gain, levels=levels)
    options = ({"threads": workers}, {"strip_rows": strip_rows}, {"threads": workers, "strip_rows": strip_rows})
    back, shift, _ = weights(3 * 4**levels, 8, seed=1)
    back *= np.float32(0.01)
    decoded = synthesize_linear(latent, back, shift * 0, 1 / gain, height, width, levels)
    bands = apply_linear(latent.astype(np.float32) * (1 / gain)[:, None, None], back, shift * 0)
    assert np.array_equal(synthesize_image(bands, height, width, levels), decoded)
    for option in options:
        assert np.array_equal(analyze_quantized(image, weight, bias, gain, levels=levels, **option), latent)
        again = synthesize_linear(latent, back, shift * 0, 1 / gain, height, width, levels, **option)
        assert np.array_equal(again, decoded)
        streamed = synthesize_image(lambda low, high: bands[:, low:high], height, width, levels, **option)
        assert np.array_equal(streamed, decoded)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(0, 3), st.integers(1, 4))
def test_bands_give_the_image_back_exactly(height: int, width: int, levels: int, channels: int) -> None:
    image = picture(channels, height, width, height * 151 + width)
    bands = analyze_bands(image, levels)
    assert bands.shape == (channels * 4**levels, *image_transform.latent_size(height, width, levels))
    assert np.array_equal(synthesize_image(bands, height, width, levels, channels=channels), image)
    bands *= np.float32(1.37)
    samples = wavelet_reference.synthesize_packet(bands, levels, gain=127.5)[:, :height, :width] + np.float32(127.5)
    expected = np.floor(np.clip(samples, 0, 255) + np.float32(0.5)).astype(np.uint8)
    assert np.array_equal(synthesize_image(bands, height, width, levels, channels=channels), expected)


def test_identity_weights_and_fine_steps_give_every_level_back_within_one() -> None:
    image = picture(3, 203, 317)
    identity, zeros, steps = np.eye(192, dtype=np.float32), np.zeros(192, np.float32), np.full(192, 1 / 150, np.float32)
    latent = analyze_quantized(image, identity, zeros, 1 / steps, 0.5)
    decoded = synthesize_linear(latent, identity, zeros, steps, 203, 317)
    assert np.abs(decoded.astype(int) - image).max() <= 1


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_any_strides_and_read_only_images(order: tuple[int, ...]) -> None:
    image = picture(3, 61, 90)
    weight, bias, gain = weights(12, 192)
    expected = analyze_quantized(image, weight, bias, gain)
    view = np.ascontiguousarray(image.transpose(order)).transpose(np.argsort(order))
    view.flags.writeable = False
    assert np.array_equal(analyze_quantized(view, weight, bias, gain), expected)
    flipped = np.ascontiguousarray(image[:, ::-1, ::-1])[:, ::-1, ::-1]
    assert np.array_equal(analyze_quantized(flipped, weight, bias, gain), expected)
    assert np.array_equal(analyze_quantized(np.repeat(image, 2, axis=2)[..., ::2], weight, bias, gain), expected)


def test_quantiser_at_ties_zeros_and_the_ends_of_int16() -> None:
    """At level 0 with zero weights the latent is the quantised bias."""
    values = [0.0, -0.0, 0.5, -0.5, 0.55, -0.55, 0.549, 1.5, -1.5, 2.5, -2.5, 1e-30, -1e-30]
    values += [32767.4, 32767.6, 40000, -32768.2, -32769, -1e30, 1e30]
    bias = np.array(values, np.float32)
    image = picture(1, 2, 3)
    for offset in (0.5, 0.45, 0.01):
        weight, gain = np.zeros((len(bias), 1), np.float32), np.ones(len(bias), np.float32)
        latent = analyze_quantized(image, weight, bias, gain, offset, 0)
        assert np.array_equal(latent[:, 1, 2], reference_quantize(bias, offset))
    nearest = analyze_quantized(image, weight, bias, gain, 0.5, 0)[:, 0, 0]
    assert nearest[2:4].tolist() == [1, -1] and nearest[7:11].tolist() == [2, -2, 3, -3]


def test_samples_are_clipped_and_rounded_with_ties_up() -> None:
    levels_wanted = np.array([-np.inf, -3, -0.5, 0.49, 0.5, 1.5, 254.49, 254.5, 255.4, 300, np.inf, np.nan], np.float32)
    bands = ((levels_wanted - np.float32(127.5)) / np.float32(127.5)).reshape(1, 1, -1)
    image = synthesize_image(bands, 1, bands.shape[2], 0, channels=1)
    assert image.ravel().tolist() == [0, 0, 0, 0, 1, 2, 254, 255, 255, 255, 255, 0]


def test_strips_of_synthesis_in_any_order() -> None:
    image = picture(3, 149, 77)
    bands = analyze_bands(image)
    rows = bands.shape[1]
    target = np.zeros((149, 77, 3), np.uint8).transpose(2, 0, 1)
    for first in (15, 0, 5, 10):
        count = min(5, rows - first)
        low, high = image_transform.synthesis_range(first, count, rows)
        image_transform.synthesize_strip(bands[:, low:high], first, count, target)
    assert np.array_equal(target, image)
    with pytest.raises(ValueError, match="latent rows 1 to 14"):
        image_transform.synthesize_strip(bands, 5, 5, target)


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_strips_cover_the_rows_and_keep_every_thread_busy(workers: int) -> None:
    for rows in (1, 7, 16, 63, 64, 65, 1250, 12500):
        strips = image_transform.plan_strips(rows, 4 * 192 * 1250, workers)
        assert [row for first, count in strips for row in range(first, first + count)] == list(range(rows))
        if rows >= 8 * workers:
            assert len(strips) >= workers
            together = workers * 4 * 192 * 1250 * (strips[0][1] + 8)
            assert together <= image_transform.STRIP_BYTES or strips[0][1] <= image_transform.LEAST_ROWS


def test_wrong_arguments_are_refused() -> None:
    image = picture(3, 16, 16)
    weight, bias, gain = weights(4, 192)
    for bad in (image.astype(np.float32), image[0], image[:, :0], image[:0]):
        with pytest.raises(ValueError, match="expected uint8"):
            analyze_quantized(bad, weight, bias, gain)
        with pytest.raises(ValueError, match="expected uint8"):
            analyze_bands(bad)
    for arguments in (
        (weight[:, 1:], bias, gain),
        (weight[0], bias, gain),
        (weight, bias[1:], gain),
        (weight, bias, 1),
    ):
        with pytest.raises(ValueError, match="expected"):
            analyze_quantized(image, *arguments)
    for options in ({"offset": 0}, {"offset": 0.6}, {"threads": 0}, {"strip_rows": 0}):
        with pytest.raises(ValueError, match="expected"):
            analyze_quantized(image, weight, bias, gain, **options)
    with pytest.raises(ValueError, match="expected"):
        synthesize_image(np.zeros((192, 2, 2), np.float32), 17, 16)
    with pytest.raises(ValueError, match="expected"):
        synthesize_linear(np.zeros((4, 2, 3), np.int16), weight.T, np.zeros(192), gain, 16, 16)
    with pytest.raises(ValueError, match="expected"):
        apply_linear(np.zeros((191, 2, 2), np.float32), weight, bias)


def test_pool_keeps_order_uses_threads_and_nests() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert len({*threads.run(lambda _: (meeting.wait(), threading.get_ident())[1], range(3), 3)}) == 3
    assert threads.run(lambda n: n * n, range(50), 4) == [n * n for n in range(50)]
    assert threads.run(lambda n: sum(threads.run(lambda m: n * m, range(5), 4)), range(9), 4) == [
        10 * n for n in range(9)
    ]
    assert threads.run(str, [], 4) == []


def test_pool_raises_the_error_of_an_item_and_stays_usable() -> None:
    def fail(n: int) -> int:
        if n == 3:
            raise RuntimeError("item 3")
        return n

    for workers in (1, 4):
        with pytest.raises(RuntimeError, match="item 3"):
            threads.run(fail, range(20), workers)
    assert threads.run(fail, [1, 2], 4) == [1, 2]


def test_pool_works_in_a_forked_child() -> None:
    image = picture(3, 200, 64)
    weight, bias, gain = weights(4, 192)
    expected = analyze_quantized(image, weight, bias, gain, threads=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what is tested here
        child = os.fork()
    if child == 0:
        same = np.array_equal(analyze_quantized(image, weight, bias, gain, threads=2), expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
