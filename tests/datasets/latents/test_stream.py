# SPDX-License-Identifier: Apache-2.0
"""Latents in a stream: every sample once an epoch whoever reads, in another order, and the same rest after a stop."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, get_worker_info

from isthmus.datasets import LatentIterableDataset
from isthmus.datasets.latents.order import epoch_order, taken
from tests.datasets.latents.made import Made, images, make


def keys(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


@given(
    counts=st.lists(st.integers(0, 40), max_size=6),
    readers=st.integers(1, 9),
    buffer=st.sampled_from([None, 1, 2, 7, 1000]),
    epoch=st.integers(0, 3),
)
def test_readers_share_every_index_out(counts: list[int], readers: int, buffer: int | None, epoch: int) -> None:
    starts = np.cumsum([0, *counts])
    parts = [epoch_order(starts, r, readers, 5, epoch, buffer) for r in range(readers)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(sum(counts)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if buffer is None:
        assert np.concatenate(parts).tolist() == list(range(sum(counts)))


def test_a_buffer_mixes_as_far_as_it_reaches() -> None:
    starts = np.arange(0, 10001, 1000)
    order = epoch_order(starts, 0, 1, 0, 0, 500)
    plain = epoch_order(starts, 0, 1, 0, 0, 1)
    place = np.empty(10000, np.int64)
    place[plain] = np.arange(10000)
    moved = np.arange(10000) - place[order]
    assert 450 < np.abs(moved).max() < 600 and np.abs(moved).mean() > 150
    assert not np.array_equal(order, epoch_order(starts, 0, 1, 0, 1, 500))
    assert not np.array_equal(order, epoch_order(starts, 0, 1, 1, 0, 500))
    assert np.array_equal(order, epoch_order(starts, 0, 1, 0, 0, 500))


@pytest.mark.parametrize("name", ["same", "mixed", "tar", "sounds"])
def test_samples_are_the_integers_of_the_streams(name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    data = LatentIterableDataset(made.path, group=5)
    found = {sample["key"]: sample for sample in data}
    assert len(found) == len(data) == len(made.keys)
    for index, key in enumerate(made.keys):
        assert found[key]["label"] == index % 3
        for plane, expected in made.planes[index].items():
            assert np.array_equal(found[key][plane], expected)
    assert [s["key"] for s in LatentIterableDataset(made.path, shuffle=False)] == made.keys


@pytest.mark.parametrize(("world", "workers", "shard"), [(2, 2, 16), (2, 2, 60), (3, 2, 9), (1, 0, 16)])
def test_ranks_and_workers_read_every_sample_once(
    world: int, workers: int, shard: int, codec: Any, astronaut: np.ndarray, tmp_path: Path
) -> None:
    made = make(tmp_path / "set", codec, images(astronaut, 53, ((16, 16),)), shard=shard)
    orders = []
    for epoch in range(2):
        seen = []
        for rank in range(world):
            data = LatentIterableDataset(made.path, rank=rank, world=world, seed=3)
            data.set_epoch(epoch)
            loader = DataLoader(data, batch_size=4, num_workers=workers)
            mine = keys(loader)
            assert len(mine) == len(data)
            seen += mine
        assert sorted(seen) == sorted(made.keys)
        orders.append(seen)
    assert orders[0] != orders[1]


def test_workers_that_live_on_are_told_the_epoch(same: Made) -> None:
    data = LatentIterableDataset(same.path)
    loader = DataLoader(data, 8, num_workers=2, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        orders.append(keys(loader))
    assert orders[0] == orders[2] != orders[1]
    spawned = DataLoader(data, 8, num_workers=2, multiprocessing_context="spawn")
    assert keys(spawned) == orders[0]


RANK = """
import json, os, sys
import torch.distributed as dist
from torch.utils.data import DataLoader, get_worker_info
from isthmus.datasets import LatentIterableDataset
dist.init_process_group("gloo")
del os.environ["RANK"], os.environ["WORLD_SIZE"]
data = LatentIterableDataset(sys.argv[1])
print(json.dumps([key for batch in DataLoader(data, 4, num_workers=2) for key in batch["key"]]))
"""


def test_ranks_of_a_training_know_their_part(same: Made) -> None:
    """Of torch.distributed; without it, of the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    found = []
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(same.path)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        found += json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
    assert sorted(found) == sorted(same.keys)


def test_ranks_of_the_environment(same: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        found += [sample["key"] for sample in LatentIterableDataset(same.path)]
    assert sorted(found) == sorted(same.keys)
    for wrong, message in (("3", "RANK is 3 of WORLD_SIZE 3"), ("x", "must be numbers")):
        monkeypatch.setenv("RANK", wrong)
        with pytest.raises(ValueError, match=message):
            LatentIterableDataset(same.path)


def test_the_rest_is_the_same_after_a_stop_at_any_sample(same: Made) -> None:
    data = LatentIterableDataset(same.path, group=6, buffer=20)
    data.set_epoch(2)
    whole = [sample["key"] for sample in data]
    for stop in range(54):
        first = LatentIterableDataset(same.path, group=6, buffer=20)
        first.set_epoch(2)
        reading = iter(first)
        assert [next(reading)["key"] for _ in range(stop)] == whole[:stop]
        state = json.loads(json.dumps(first.state_dict()))
        then = LatentIterableDataset(same.path, group=6, buffer=20)
        then.load_state_dict(state)
        assert then.state_dict() == first.state_dict()
        assert [sample["key"] for sample in then] == whole[stop:]
        assert [sample["key"] for sample in then] == whole  # the next epoch is whole
    then.load_state_dict(state)
    then.set_epoch(3)
    assert len(list(then)) == 53


@pytest.mark.parametrize(("workers", "drop_last"), [(0, False), (2, False), (2, True)])
def test_the_rest_is_the_same_after_a_stop_at_any_batch(same: Made, workers: int, drop_last: bool) -> None:
    def loader() -> tuple[LatentIterableDataset, Any]:
        data = LatentIterableDataset(same.path, rank=1, world=2)
        return data, DataLoader(data, 5, num_workers=workers, drop_last=drop_last)

    data, batches = loader()
    whole = [batch["key"] for batch in batches]
    for stop in range(len(whole) + 1) if workers == 0 else (1, 2, 4):
        state = json.loads(json.dumps(data.state_dict(batches, stop)))
        then, rest = loader()
        then.load_state_dict(state)
        assert [batch["key"] for batch in rest] == whole[stop:]
        again = then.state_dict(rest, len(whole))
        assert again["positions"] == data.state_dict(batches, len(whole))["positions"]
        assert [batch["key"] for batch in rest] == whole  # the next epoch is whole, with new workers too
    with pytest.raises(ValueError, match=f"{len(whole) + 1} batches, an epoch has {len(whole)}"):
        data.state_dict(batches, len(whole) + 1)


def with_state(samples: list[Any]) -> tuple[list[str], dict[str, Any]]:
    info = get_worker_info()
    assert info is not None
    return [sample["key"] for sample in samples], info.dataset.state_dict()  # type: ignore[attr-defined]


def test_workers_say_where_they_are(same: Made) -> None:
    """As torchdata's StatefulDataLoader asks them, and tells them later."""
    batches = list(DataLoader(LatentIterableDataset(same.path), 5, num_workers=2, collate_fn=with_state))
    whole = [keys_ for keys_, _ in batches]
    for stop in (2, 5):
        states = {next(iter(state["positions"])): state for _, state in batches[:stop]}

        def tell(worker: int, states: dict[int, Any] = states) -> None:
            info = get_worker_info()
            assert info is not None
            info.dataset.load_state_dict(states[worker])  # type: ignore[attr-defined]

        rest = DataLoader(LatentIterableDataset(same.path), 5, num_workers=2, worker_init_fn=tell)
        found = [batch["key"] for batch in rest]
        assert sorted(map(tuple, found)) == sorted(map(tuple, whole[stop:]))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 7), st.booleans())
def test_what_a_loader_has_taken_is_known(shares: list[int], size: int, drop_last: bool) -> None:
    """Against torch's order: workers in turn, those at their end left out."""
    left = [n // size if drop_last else -(-n // size) for n in shares]
    given_, worker, batches = [0] * len(shares), 0, 0
    while any(left):
        if left[worker]:
            assert taken(shares, size, batches, drop_last) == given_
            given_[worker] = min(shares[worker], given_[worker] + size)
            left[worker] -= 1
            batches += 1
        worker = (worker + 1) % len(shares)
    assert taken(shares, size, batches, drop_last) == given_


def test_states_of_others_are_refused(same: Made, mixed: Made) -> None:
    data = LatentIterableDataset(same.path)
    state = data.state_dict()
    for other, message in [
        (LatentIterableDataset(mixed.path), "data '.*', here '.*'"),
        (LatentIterableDataset(same.path, seed=1), "seed 0, here 1"),
        (LatentIterableDataset(same.path, rank=0, world=2), "world 1, here 2"),
        (LatentIterableDataset(same.path, shuffle=False), "buffer 4096, here None"),
    ]:
        with pytest.raises(ValueError, match=f"a state of another reading: {message}"):
            other.load_state_dict(state)
    data.load_state_dict(data.state_dict(DataLoader(data, 4, num_workers=2), 3))
    with pytest.raises(ValueError, match="is of 2 workers a process, now there are 1"):
        next(iter(data))
    assert (
        len(pickle.dumps(data)) < 40000
        and len(list(pickle.loads(pickle.dumps(LatentIterableDataset(same.path))))) == 53
    )
    for wrong in ({"buffer": 0}, {"group": 0}):
        with pytest.raises(ValueError, match="expected at least 1"):
            LatentIterableDataset(same.path, **wrong)  # type: ignore[arg-type]


def test_batches_of_different_sizes_are_padded(mixed: Made) -> None:
    data = LatentIterableDataset(mixed.path)
    batch = next(iter(DataLoader(data, 30, collate_fn=data.collate)))
    assert batch["mask"].shape == (30, 8, 17)
    floats = data.dequantize(batch)["y"]
    index = mixed.keys.index(batch["key"][4])
    expected = mixed.codec.unpack(mixed.streams[index]).dequantize()["y"]
    assert torch.equal(floats[4][:, : expected.shape[1], : expected.shape[2]], expected)


def test_a_set_of_another_machine_is_read_by_row_groups(same: Made) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in same.path.rglob("*.*"):
        memory.pipe_file(f"/stream-set/{path.relative_to(same.path).as_posix()}", path.read_bytes())
    far, near = (LatentIterableDataset(p, seed=2, buffer=9) for p in ("memory://stream-set", same.path))
    for a, b in zip(far, near, strict=True):
        assert a["key"] == b["key"] and torch.equal(a["y"], b["y"])
    rows = far._source.rows
    assert len(rows._opened.groups._kept) <= rows._opened.groups.most == 3
