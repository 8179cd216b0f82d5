# SPDX-License-Identifier: Apache-2.0
"""Lists of images, analysed one by one or together: the same latents and bytes. What a GPU does, done by torch here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.datasets import transcode, work
from isthmus.entropy.models import device
from tests.datasets.photos import make_photos, photo


@pytest.fixture(params=[False, True], ids=["one by one", "together"])
def codec(
    request: pytest.FixtureRequest, shipped: WallocImageCodec, monkeypatch: pytest.MonkeyPatch
) -> WallocImageCodec:
    monkeypatch.setattr(shipped, "takes_lists", request.param)
    return shipped


@pytest.mark.parametrize("entropy", ["factorized", "context"])
def test_lists_and_batches_give_the_bytes_of_single_images(
    codec: WallocImageCodec, astronaut: np.ndarray, entropy: str
) -> None:
    images = [astronaut[:60, x : x + 90] for x in range(0, 200, 50)]
    expected = [codec.encode(image, entropy=entropy) for image in images]
    assert codec.encode(images, entropy=entropy) == expected
    tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    assert codec.encode(tensor, entropy=entropy) == expected
    batch = codec.analyze(tuple(images), entropy=entropy)
    assert batch.planes["y"].dtype == torch.int16 and len(batch) == 4
    assert codec.pack_batch(batch.latents[1:3]) == expected[1:3]
    grey = [image[..., :1] for image in images]
    assert codec.encode(grey) == [codec.encode(image) for image in grey]
    assert codec.encode([]) == []


def test_what_is_changed_in_a_latent_is_what_is_packed(codec: WallocImageCodec, astronaut: np.ndarray) -> None:
    batch = codec.analyze([astronaut[:16, :16]] * 2)
    batch.latents[1].planes["y"][:] = 3
    packed = codec.pack_batch(batch.latents)
    assert (codec.unpack(packed[1]).planes["y"] == 3).all()
    assert packed[0] == codec.encode(astronaut[:16, :16])


def test_images_that_are_none(codec: WallocImageCodec, astronaut: np.ndarray) -> None:
    for bad in ([astronaut[:8, :8], "x"], [astronaut[:8, :8] / 255]):
        with pytest.raises(TypeError, match="image: expected"):
            codec.analyze(bad)
    with pytest.raises((ValueError, TypeError), match="image"):
        codec.analyze(torch.zeros(2, 5, 8, 8, dtype=torch.uint8))
    if codec.takes_lists:
        with pytest.raises(ValueError, match="expected one shape in a list"):
            codec.analyze([astronaut[:8, :8], astronaut[:8, :16]])


def test_a_gpu_without_room_is_passed_over(
    codec: WallocImageCodec, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    images = [astronaut[:16, :16], astronaut[16:32, :16]]
    expected = codec.encode(images)
    monkeypatch.setattr(codec, "takes_lists", True)
    monkeypatch.setattr(codec, "_analyze_together", full)
    with pytest.warns(UserWarning, match="2 images, on the CPU, as CUDA out of memory"):
        assert codec.encode(images) == expected


def test_choices_are_those_of_the_cpu(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    """Tables and offsets, where counts tie, at the ends of 16 bits and for flat planes."""
    model = shipped.weights.entropy
    y = shipped.analyze([astronaut[:64, x : x + 64] for x in range(6)], quality=90).planes["y"].clone()
    y[1], y[2], y[3] = 0, -(1 << 15), (1 << 15) - 1
    y[4, :, ::2] += 1001
    tables, offsets = device.choose(model, y)
    for planes, table, offset in zip(y, tables, offsets, strict=True):
        assert (tuple(table.tolist()), tuple(offset.tolist())) == model.choose(planes.numpy())


@pytest.mark.parametrize("views", [(), ("hflip", "crops:2")])
def test_a_data_set_made_together_is_the_same_bytes(
    tmp_path: Path, codec: WallocImageCodec, monkeypatch: pytest.MonkeyPatch, views: tuple[str, ...]
) -> None:
    if not codec.takes_lists:
        pytest.skip("what it is compared with")
    source = make_photos(tmp_path / "photos")
    photo(99, 48, 40).save(source / "cat" / "other.png")
    photo(98).convert("L").save(source / "cat" / "grey.png")
    (source / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    given = {"codec": codec.name, "workers": 0, "progress": False, "shard_size": 10, "views": views, "crop": 24}
    codec.takes_lists = False
    monkeypatch.setattr(work, "_codec", lambda name, device: codec)
    transcode(source, tmp_path / "a", **given)
    codec.takes_lists = True
    assert transcode(source, tmp_path / "b", **given).lost == 1
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "ab")
    assert a == b
