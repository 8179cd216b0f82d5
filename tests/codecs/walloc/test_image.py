# SPDX-License-Identifier: Apache-2.0
"""The codecs `walloc.1` and `walloc.2`: losslessness of pack and unpack, and what bytes and pixels may depend on."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus
from isthmus.bitstream import unpack_single
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Latent, LatentSpec
from isthmus.codecs.walloc import tiles
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.codecs.walloc.weights import save_weights
from isthmus.errors import WeightsMismatchError
from isthmus.kernels.wavelet import image as image_transform
from isthmus.models.walloc.image import ROUNDING_OFFSET, ResidualNetwork, quantize
from isthmus.models.wavelet_packet import analyze_packet
from isthmus.signals import ImageSignal
from tests.codecs.walloc.cases import ENTROPY


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def random_image(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    """Noise of a random strength on a random ramp, uint8 [H, W, channels]."""
    rng = np.random.default_rng(seed)
    ramp = rng.uniform(0, 255) + rng.normal(0, 2) * np.arange(width)[None, :, None]
    noise = rng.normal(0, rng.choice([0, 1, 20, 200]), (height, width, channels))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from([1, 3]),
    quality=st.integers(1, 100),
    entropy=st.sampled_from(["context", "factorized", None]),
)
def test_pack_is_the_inverse_of_unpack(
    tiny: WallocImageCodec, seed: int, height: int, width: int, channels: int, quality: int, entropy: Any
) -> None:
    image = random_image(seed, height, width, channels)
    latent = tiny.analyze(image, quality=quality, entropy=entropy)
    data = tiny.pack(latent)
    assert data == tiny.encode(image, quality=quality, entropy=entropy)
    unpacked = tiny.unpack(data)
    assert torch.equal(unpacked.planes["y"], latent.planes["y"])
    if entropy == "factorized" or isthmus.inspect(data)["codec_id"] == "walloc.2":
        assert unpacked.spec.header == latent.spec.header
    else:
        assert data == tiny.encode(image, quality=quality, entropy="factorized")
    assert tiny.pack(unpacked) == data
    assert tiny.decode(data).shape == (channels, height, width)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), (13, 77, 200)])
def test_flat_images_are_small(colour: tuple[int, int, int]) -> None:
    """Contexts predict from neighbours, and take bytes where nothing changes; the smaller stream is made."""
    codec = isthmus.load("walloc-image-f8c48")
    image = np.full((1024, 1024, 3), colour, np.uint8)
    for quality in (1, 50, 100):
        data = codec.encode(image, quality=quality)
        assert len(data) <= 160
        assert codec.pack(codec.unpack(data)) == data


@settings(max_examples=30, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    quality=st.integers(1, 100),
)
def test_contexts_are_hardly_ever_larger(
    tiny: WallocImageCodec, seeds: list[int], height: int, width: int, quality: int
) -> None:
    images = [random_image(seed, height, width, 3) for seed in seeds]
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2))
    together = tiny.encode(batch, quality=quality)
    for image, data in zip(images, together, strict=True):
        assert data == tiny.encode(image, quality=quality)
        assert len(data) <= len(tiny.encode(image, quality=quality, entropy="factorized")) + 8


def test_choices_of_another_encoder_are_kept(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    """A stream from an encoder with other tables, offsets and lanes packs to its own bytes again, not to ours."""
    latent = tiny.unpack(tiny.encode(astronaut[:64, :64], entropy="factorized"))
    choices = latent.spec.choices
    other = type(choices)(8, tuple((t + 7) % 64 for t in choices.tables), tuple(o - 3 for o in choices.offsets))
    data = tiny.pack(Latent(latent.planes, LatentSpec(latent.spec.header, other), tiny))
    assert data != tiny.encode(astronaut[:64, :64], entropy="factorized")
    again = tiny.unpack(data)
    assert again.spec.choices == other
    assert torch.equal(again.planes["y"], latent.planes["y"]) and tiny.pack(again) == data


@pytest.mark.usefixtures("threads")
def test_bytes_and_pixels_do_not_depend_on_threads(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    image = np.tile(astronaut[:300], (1, 2, 1))  # 300 x 1024: several strips
    found = {}
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        data = shipped.encode(image, quality=60)
        found[count] = (
            data,
            shipped.unpack(data).planes["y"],
            shipped.decode(data),
            shipped.decode(data, synthesis="linear"),
        )
    for count in (2, 3):
        assert found[count][0] == found[1][0]
        assert torch.equal(found[count][1], found[1][1])
        assert (found[count][2].int() - found[1][2].int()).abs().max() <= 1
        assert torch.equal(found[count][3], found[1][3])


@pytest.mark.parametrize("strip_rows", [1, 3, 8, 1000])
def test_bytes_do_not_depend_on_strips(
    tiny: WallocImageCodec, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, strip_rows: int
) -> None:
    image = astronaut[:131, :77]
    data = tiny.encode(image)
    plain = image_transform.plan_strips
    monkeypatch.setattr(
        image_transform, "plan_strips", lambda rows, size, count, _=None: plain(rows, size, count, strip_rows)
    )
    assert tiny.encode(image) == data


def test_tiles_of_the_network_equal_the_whole(
    tiny: WallocImageCodec, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.encode(astronaut[:200, :330], quality=70)
    whole = tiny.decode(data).int()
    monkeypatch.setattr(tiles, "MAX_TILE", 1)
    for rows, columns in ((4, 5), (7, 100), (100, 3)):
        monkeypatch.setattr(tiles, "TILE_ROWS", rows)
        monkeypatch.setattr(tiles, "TILE_COLUMNS", columns)
        assert (tiny.decode(data).int() - whole).abs().max() <= 1


def test_reach_of_the_network(tiny: WallocImageCodec) -> None:
    """What the halo of a tile rests on: no output depends on latents further away than `reach`."""
    reach, level = ResidualNetwork.reach(tiny.model.config), torch.tensor([1.5])
    y = torch.zeros(1, 5, 1, 4 * reach + 1)
    touched = y.clone()
    touched[..., 2 * reach] = 50.0
    with torch.inference_mode():
        moved = (tiny.model.network(touched, level) - tiny.model.network(y, level)).abs().sum((0, 1, 2)) > 0
    at = moved.nonzero().flatten()
    assert int(at.min()) == reach and int(at.max()) == 3 * reach


def test_analysis_is_the_models(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    """The kernels compute what was trained; only ties of the rounding may fall otherwise."""
    image = astronaut[40:104, 160:240]
    planes = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    for quality, level in ((1, 0.0), (34, 1.0), (100, 3.0)):
        with torch.inference_mode():
            y = tiny.model.analyze(analyze_packet(planes, 3), torch.tensor([level]))
            expected = quantize(y)[0].int()
        found = tiny.analyze(image, quality=quality).planes["y"].int()
        differing = found != expected
        assert differing.float().mean() < 1e-3
        boundary = (y[0].abs() + ROUNDING_OFFSET) % 1
        assert torch.minimum(boundary, 1 - boundary)[differing].sum() < 1e-2


def test_values_beyond_sixteen_bits_saturate(tiny_weights: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    shutil.copyfile(tiny_weights, tmp_path / "own.safetensors")  # the codec of a file is shared
    codec: Any = isthmus.load(str(tmp_path / "own.safetensors"))
    codec.weights.linear.log_gain.add_(12.0)
    latent = codec.analyze(astronaut[:64, :64])
    assert int(latent.planes["y"].max()) == 32767 and int(latent.planes["y"].min()) == -32768
    assert torch.equal(codec.unpack(codec.pack(latent)).planes["y"], latent.planes["y"])


def test_grey_is_the_rounded_mean_of_the_channels(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    grey = tiny.encode(astronaut[:40, :40, 0])
    latent = tiny.unpack(grey)
    header = latent.spec.header
    as_rgb = TrackHeader(header.codec_id, header.tables_hash, header.weights_hash, ImageSignal(40, 40), header.options)
    channels = tiny.synthesize(Latent(latent.planes, LatentSpec(as_rgb), tiny)).numpy()
    expected = np.floor(channels.mean(axis=0, dtype=np.float64) + 0.5)
    assert np.array_equal(tiny.decode(grey)[0].numpy(), expected)


def test_latent_from_other_weights(tiny: WallocImageCodec, shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    latent = tiny.analyze(astronaut[:32, :32])
    for call in (shipped.pack, shipped.synthesize):
        with pytest.raises(WeightsMismatchError, match=latent.spec.header.weights_hash + "|tables"):
            call(latent)


def test_a_codec_from_a_file_travels_by_its_path(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    data = tiny.encode(astronaut[:24, :24])
    latent = pickle.loads(pickle.dumps(tiny.unpack(data)))
    assert latent.codec.name == tiny.name and latent.codec.weights_hash == tiny.weights_hash
    assert latent.codec.pack(latent) == data


def test_header_names_what_is_needed(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    for entropy, codec_id in ENTROPY.items():
        header, payload = unpack_single(tiny.encode(astronaut[:9, :17], quality=12, entropy=entropy))
        tables = tiny.tables_hashes[codec_id]
        assert header == TrackHeader(codec_id, tables, tiny.weights_hash, ImageSignal(9, 17), b"\x0c")
        assert len(payload) < 200


def test_both_entropy_models_carry_the_same_latents(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    streams = {e: shipped.encode(astronaut, quality=60, entropy=e) for e in ("context", "factorized")}
    y = [shipped.unpack(data).planes["y"] for data in streams.values()]
    assert torch.equal(*y)
    assert len(streams["context"]) < 0.9 * len(streams["factorized"])
    assert shipped.encode(astronaut, quality=60) == streams["context"]
    batch = torch.from_numpy(np.stack([astronaut[:64, :64]] * 2)).permute(0, 3, 1, 2)
    for entropy, codec_id in ENTROPY.items():
        assert [isthmus.inspect(b)["codec_id"] for b in shipped.encode(batch, entropy=entropy)] == [codec_id] * 2


def test_an_entropy_model_that_is_not_there(tiny: WallocImageCodec, astronaut: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entropy 'zip', expected 'context' or 'factorized'"):
        tiny.encode(astronaut, entropy="zip")
    save_weights(tmp_path / "plain.safetensors", tiny.model, tiny.weights.entropy)
    plain = isthmus.load(str(tmp_path / "plain.safetensors"))
    assert plain.codec_id == "walloc.1"
    data = plain.encode(astronaut[:30, :30])
    assert tiny.unpack(data).planes["y"].shape == (5, 4, 4)  # the same tables
    with pytest.raises(ValueError, match="'factorized'"):
        plain.encode(astronaut, entropy="context")
    with pytest.raises(WeightsMismatchError, match=r"walloc\.2"):
        plain.unpack(tiny.encode(astronaut[:30, :30]))
