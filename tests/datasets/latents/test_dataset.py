# SPDX-License-Identifier: Apache-2.0
"""Latents by index: the integers of the streams, in whatever way they are asked for."""

import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import isthmus
from isthmus.datasets import LatentDataset, LatentIterableDataset, SizeBuckets, collate
from isthmus.errors import MissingExtraError, UnreadableFileError, WeightsMismatchError
from tests.datasets.latents.made import Made, images, make


def check(made: Made, batch: dict[str, Any]) -> None:
    for place, key in enumerate(batch["key"]):
        index = made.keys.index(key)
        assert np.array_equal(batch["y"][place], made.planes[index]["y"])
        assert batch["label"][place] == index % 3


@pytest.mark.parametrize("name", ["same", "mixed", "tar", "sounds"])
def test_samples_are_the_integers_of_the_streams(name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    data = LatentDataset(made.path)
    assert len(data) == len(made.streams)
    order = np.random.default_rng(0).permutation(len(data))
    for index in [*order.tolist(), -1]:
        sample = data[index]
        assert (sample["key"] == made.keys[index] and sample["label"] == index % len(made.keys) % 3) or index == -1
        for plane, expected in made.planes[index].items():
            assert sample[plane].dtype == torch.int8 and np.array_equal(sample[plane], expected)
    assert data.stream(3) == made.streams[3] and data.classes == ["0", "1", "2"]
    for wrong in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match="of"):
            data[wrong]


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_an_unmodified_loader_reads_every_sample_once(same: Made, context: str | None) -> None:
    data = LatentDataset(same.path)
    data[0]  # opened before workers are forked
    workers = 2 if context else 0
    loader = DataLoader(data, batch_size=16, shuffle=True, num_workers=workers, multiprocessing_context=context)
    seen = []
    for batch in loader:
        check(same, batch)
        seen += batch["key"]
    assert sorted(seen) == sorted(same.keys)


def test_batches_of_different_sizes_are_padded(mixed: Made) -> None:
    batch = next(iter(DataLoader(LatentDataset(mixed.path), batch_size=30, collate_fn=collate)))
    assert batch["y"].shape == (30, 12, 8, 17) and batch["mask"].shape == (30, 8, 17)
    for place, planes in enumerate(mixed.planes):
        height, width = planes["y"].shape[1:]
        assert np.array_equal(batch["y"][place, :, :height, :width], planes["y"])
        assert batch["mask"][place].sum() == height * width and batch["mask"][place, :height, :width].all()
        assert not batch["y"][place][:, ~batch["mask"][place]].any()


def test_sound_has_planes_of_its_own_lengths(sounds: Made) -> None:
    data = LatentDataset(sounds.path)
    batch = data.collate([data[i] for i in range(len(data))])
    assert batch["mask"].sum(1).tolist() == [p["y"].shape[1] for p in sounds.planes]
    assert batch["noise_mask"].sum(1).tolist() == [p["noise"].shape[1] for p in sounds.planes]
    floats = data.dequantize(batch)
    latent = sounds.codec.unpack(sounds.streams[3])
    expected = latent.dequantize()
    for name, plane in expected.items():
        assert torch.allclose(floats[name][3][:, : plane.shape[1]], plane)


@pytest.mark.parametrize("shuffle", [False, True])
def test_buckets_share_batches_among_like_sizes(mixed: Made, shuffle: bool) -> None:
    data = LatentDataset(mixed.path)
    sampler = SizeBuckets(data, 4, shuffle=shuffle, seed=5)
    seen = []
    for batch in DataLoader(data, batch_sampler=sampler):  # default_collate stacks: all shapes agree
        check(mixed, batch)
        seen += batch["key"]
    assert sorted(seen) == sorted(mixed.keys) and len(sampler) == 9
    first = list(sampler)
    sampler.set_epoch(1)
    assert (list(sampler) == first) == (not shuffle)


def test_buckets_of_ranks_are_as_many_and_cover_all() -> None:
    sizes = np.random.default_rng(3).integers(1, 9, (101, 2))
    ranks = [list(SizeBuckets(sizes, 7, rank=rank, world=3)) for rank in range(3)]
    assert len({len(batches) for batches in ranks}) == 1
    assert {i for batches in ranks for batch in batches for i in batch} == set(range(101))
    near = list(SizeBuckets(sizes[:, 0], 7, exact=False))
    assert sorted(map(len, near)) == [3] + 14 * [7]
    assert len(list(SizeBuckets(sizes[:, 0], 7, exact=False, drop_last=True))) == 14
    assert not list(SizeBuckets(np.zeros((0, 2)), 7, rank=1, world=2))
    with pytest.raises(ValueError, match="batch_size is 0"):
        SizeBuckets(sizes, 0)


def test_floats_are_those_of_the_codec(same: Made) -> None:
    data = LatentDataset(same.path)
    batch = next(iter(DataLoader(data, batch_size=53)))
    floats = data.dequantize(batch, "cpu")
    assert torch.equal(floats["y"][7], same.codec.unpack(same.streams[7]).dequantize()["y"])
    assert floats["key"] == batch["key"] and torch.equal(floats["label"], batch["label"])
    assert torch.equal(data.dequantize(batch["y"]), floats["y"])
    normal = data.dequantize(batch, normalize=True)["y"]
    means = normal.mean((0, 2, 3))
    assert means.abs().max() < 1e-5 and (normal.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert torch.allclose((floats["y"] - data.mean["y"]) / data.std["y"], normal, atol=1e-4)
    with pytest.raises(ValueError, match="already"):
        data.dequantize(floats["y"])


def test_what_is_filled_in_stays_zero(mixed: Made) -> None:
    data = LatentDataset(mixed.path)
    batch = next(iter(DataLoader(data, batch_size=30, collate_fn=data.collate)))
    normal, outside = data.dequantize(batch, normalize=True)["y"], ~batch["mask"][:, None]
    assert outside.any() and not (normal * outside).any() and (normal * ~outside)[:, 0].any()


def test_a_look_at_a_sample(same: Made) -> None:
    data = LatentDataset(same.path)
    assert torch.equal(data.to_samples(4), isthmus.decode(same.streams[4]))
    assert data.to_samples(4, output="pil").size == (64, 64)


def test_columns_are_chosen(same: Made) -> None:
    data = LatentDataset(same.path, columns=["height", "key"])
    assert {k: v for k, v in data[2].items() if k != "y"} == {"height": 64, "key": same.keys[2]}
    assert list(LatentDataset(same.path, columns=[])[2]) == ["y"]
    with pytest.raises(ValueError, match="no column 'caption'; it has key"):
        LatentDataset(same.path, columns=["caption"])
    assert LatentDataset(same.path, transform=lambda sample: sample["label"])[4] == 1


def test_pickles_carry_paths_only(same: Made) -> None:
    data = LatentDataset(same.path)
    before = len(pickle.dumps(data))
    data.__getitems__(range(53))
    assert len(pickle.dumps(data)) < before + 100 < 5000
    assert torch.equal(pickle.loads(pickle.dumps(data))[9]["y"], data[9]["y"])


@pytest.mark.parametrize("count", [0, 1])
def test_small_sets(count: int, codec: Any, astronaut: np.ndarray, tmp_path: Path) -> None:
    data = LatentDataset(make(tmp_path / "set", codec, images(astronaut, count)).path)
    assert len(data) == count and len(list(DataLoader(data, batch_size=4))) == count
    assert data.cache(tmp_path / "cache") is data and len(list(DataLoader(data))) == count


def test_a_set_that_is_not_finished(codec: Any, astronaut: np.ndarray, tmp_path: Path) -> None:
    made = make(tmp_path / "set", codec, images(astronaut, 20), shard=8, complete=False)
    (made.path / "data" / "shard-00001.parquet").unlink()
    with pytest.raises(UnreadableFileError, match=r"not finished: .*partial=True"):
        LatentDataset(made.path)
    data = LatentDataset(made.path, partial=True)
    assert [data[i]["key"] for i in range(len(data))] == made.keys[:8] + made.keys[16:]
    latent = codec.unpack(made.streams[0])
    assert torch.equal(data.dequantize(data[0])["y"], latent.dequantize()["y"])


def test_a_set_whose_weights_do_not_ship(tiny: Any, tiny_weights: Path, astronaut: np.ndarray, tmp_path: Path) -> None:
    from isthmus.codecs.trained_file import write_tables
    from isthmus.codecs.walloc.weights import NETWORK

    made = make(tmp_path / "set", tiny, images(astronaut, 5))
    with pytest.raises(WeightsMismatchError, match=r"neither ship .* LatentDataset\(path, codec=FILE\)"):
        LatentDataset(made.path)[0]
    named = LatentDataset(made.path, codec=str(tiny_weights))
    assert torch.equal(named.to_samples(1), tiny.decode(made.streams[1]))
    with pytest.raises(WeightsMismatchError, match="walloc-image-f8c12 has others"):
        LatentDataset(made.path, codec="walloc-image-f8c12")[0]
    write_tables(tiny_weights, made.path / "codec.safetensors", NETWORK)
    data = pickle.loads(pickle.dumps(LatentDataset(made.path)))
    assert np.array_equal(data[1]["y"], made.planes[1]["y"])
    memory = fsspec.filesystem("memory")
    for path in made.path.rglob("*.*"):
        memory.pipe_file(f"/own-codec/{path.relative_to(made.path).as_posix()}", path.read_bytes())
    assert torch.equal(LatentDataset("memory://own-codec")[1]["y"], data[1]["y"])
    with pytest.warns(UserWarning, match=r"a preview, as it lacks synthesis weights .*codec=FILE"):
        assert torch.equal(data.to_samples(1), tiny.decode(made.streams[1], synthesis="linear"))
    shutil.copy(tiny_weights, made.path / "codec.safetensors")  # with networks
    memory.pipe_file("/own-codec/codec.safetensors", tiny_weights.read_bytes())
    for place in (made.path, "memory://own-codec"):
        assert torch.equal(LatentDataset(place).to_samples(1), tiny.decode(made.streams[1]))


def test_what_is_no_data_set(tmp_path: Path, same: Made) -> None:
    with pytest.raises(UnreadableFileError, match=r"no data set of latents, it has no manifest\.json"):
        LatentDataset(tmp_path)
    with pytest.raises(TypeError, match="quality: options are for files that are encoded"):
        LatentDataset(same.path, quality=3)
    with pytest.raises(ValueError, match="a batch of no samples"):
        collate([])


@given(
    sizes=st.lists(st.tuples(st.integers(1, 33), st.integers(1, 33)), min_size=1, max_size=12),
    shard=st.integers(1, 12),
    batch=st.integers(1, 12),
    format=st.sampled_from(["parquet", "tar"]),
    entropy=st.sampled_from(["context", "factorized"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sizes(
    codec: Any,
    astronaut: np.ndarray,
    sizes: list[tuple[int, int]],
    shard: int,
    batch: int,
    format: str,
    entropy: str,
) -> None:
    """One pixel, odd sides, one row a shard; by index, in a stream and from a cache."""
    with tempfile.TemporaryDirectory() as folder:
        crops = images(astronaut, len(sizes), sizes)
        made = make(Path(folder) / "set", codec, crops, shard=shard, format=format, entropy=entropy)
        data = LatentDataset(made.path)
        assert data.sizes.tolist() == [list(crop.shape[:2]) for crop in crops]
        cached = LatentDataset(made.path).cache(Path(folder) / "cache")
        streamed = LatentIterableDataset(made.path, group=batch, shuffle=False)
        for source in (data, cached, streamed):
            seen = 0
            for found in DataLoader(source, batch_size=batch, collate_fn=collate):
                for y, mask in zip(found["y"], found["mask"], strict=True):
                    expected = made.planes[seen]["y"]
                    assert np.array_equal(y[:, : expected.shape[1], : expected.shape[2]], expected)
                    assert int(mask.sum()) == expected[0].size
                    seen += 1
            assert seen == len(sizes)


def test_a_missing_pyarrow_names_the_extra(same: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'isthmus\[data\]'"):
        LatentDataset(same.path)[0]
