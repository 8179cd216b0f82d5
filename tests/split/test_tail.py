# SPDX-License-Identifier: Apache-2.0
"""Streams to logits, and the streams that are none of the tail's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import CorruptStreamError, UnreadableFileError, WeightsMismatchError
from isthmus.models.heads import LatentInput
from isthmus.models.heads.saved import load_head
from isthmus.split.tail import Tail
from isthmus.training.heads.prediction import Predictor
from tests.split.conftest import CLASSES, CODEC, DENSE, save

SOUND = LatentInput(12, 1, (0.0,) * 12, (1.0,) * 12, 8)


def test_the_same_as_the_predictor(tail: Tail, run_folder: Path, streams: list[bytes]) -> None:
    latents, errors = tail.unpack(streams)
    assert not errors and len(tail.hash) == 16
    shares = tail.facts.shares(tail.logits(torch.stack(latents)))
    predictor = Predictor(*load_head(run_folder))
    for one, stream in zip(shares, streams, strict=True):
        told = predictor.latent(predictor.codec.unpack(stream))
        assert list(told) == CLASSES and one.tolist() == pytest.approx(list(told.values()), abs=1e-5)


def test_what_is_broken_or_foreign_is_told_by_its_place(tail: Tail, streams: list[bytes]) -> None:
    damaged = bytearray(streams[1])
    damaged[-6] ^= 1
    foreign = isthmus.load("walloc-image-f8c48").encode(np.zeros((32, 32, 3), np.uint8))
    large = isthmus.load(CODEC).encode(np.zeros((80, 80, 3), np.uint8))
    given = [streams[0], b"", bytes(damaged), foreign, streams[2][:-3], large, streams[3]]
    latents, errors = tail.unpack(given)
    assert len(latents) == 2 and sorted(errors) == [1, 2, 3, 4, 5]
    assert all("stream " not in str(errors[place])[:9] and "\n" not in str(errors[place]) for place in errors)
    assert isinstance(errors[3], WeightsMismatchError)
    assert "sent: a stream of walloc-image-f8c48" in str(errors[3]) and f"expected: {CODEC}" in str(errors[3])
    assert isinstance(errors[5], CorruptStreamError) and "80x80, 6,400 pixels; at most 4,096" in str(errors[5])
    assert tail.unpack([]) == ([], {})


def test_heads_that_are_not_served(tmp_path: Path, tail: Tail) -> None:
    about, settings = dict(tail.facts.codec), {"codec": CODEC, "weights": tail.codec.weights_hash}
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"codec": {**about, "weights_hash": "00000001"}}, WeightsMismatchError, "the head's latents are of 00000001"),
        ({"codec": {**about, "tables_hash": {"walloc.1": "0"}}}, WeightsMismatchError, "has entropy tables"),
        (DENSE, ValueError, "a head of dense"),
        ({"input": SOUND, "settings": {**settings, "kind": "audio"}}, ValueError, "served are heads that say classes"),
    ]
    for number, (changed, kind, message) in enumerate(wrong):
        with pytest.raises(kind, match=message):
            Tail.open(save(tmp_path / str(number), **changed))
    with pytest.raises(UnreadableFileError, match="no trained head"):
        Tail.open(tmp_path)


def test_a_device_without_room_is_told_as_such(tail: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(tail, "_compute", full)
    with pytest.raises(MemoryError, match="2 latents at once"):
        tail.logits(torch.zeros(2, 12, 4, 4))
