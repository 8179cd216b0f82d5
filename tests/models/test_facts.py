# SPDX-License-Identifier: Apache-2.0
"""Files of trained heads that lie: each is refused in one line that names it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from isthmus.errors import CorruptStreamError
from isthmus.models.heads import HEADS, LatentInput, build_head
from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.models.heads.dense import DenseConfig, DenseHead
from isthmus.models.heads.facts import HeadFacts
from isthmus.models.heads.saved import KEY, NAME, load_head, save_head

CODEC = {"name": "walloc-image-f8c12", "weights_hash": "00", "tables_hash": {}}
SETTINGS = {"codec": "walloc-image-f8c12", "kind": "image", "weights": "00", "options": {"quality": 50}, "views": [],
            "resize": 256, "crop": 224, "format": "parquet"}  # fmt: skip
ABOUT = LatentInput(2, 2, (0.0, 1.0), (1.0, 2.0))
FACTS = HeadFacts("classify", "tiny", ABOUT, 2, ["a", "b"], CODEC, SETTINGS)
VALUES = {"targets": "values", "mean": [1.0], "std": [2.0]}
CLASSES = {"targets": "classes", "numbers": [0, 7], "palette": None}
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    HEADS["tiny"] = ConvNextClassifier, ConvNextConfig((4,), (1,), 3)
    HEADS["dense-tiny"] = DenseHead, DenseConfig(ConvNextConfig((4,), (1,), 3), 4)
    yield
    del HEADS["tiny"], HEADS["dense-tiny"]


def saved(folder: Path, told: Json, change: Any = None) -> Path:
    weights = build_head(told.get("head", "tiny"), ABOUT, 2).state_dict()
    tensors = {name: value.contiguous() for name, value in weights.items()}
    if change is not None:
        tensors["output.bias"] = change(tensors["output.bias"])
    save_file(tensors, folder / NAME, {KEY: json.dumps(told)})
    return folder / NAME


def refused(path: Path) -> str:
    with pytest.raises(CorruptStreamError) as caught:
        load_head(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: not a trained head of isthmus: ") and "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("codec", [None, "x", [], {}, {**CODEC, "name": 3}, {**CODEC, "weights_hash": 3}, {**CODEC, "tables_hash": 3}]),
        ("settings", [None, "x", [], {}, *({**SETTINGS, "resize": v} for v in (10**12, "x", 0, True, 1.5)),
                      *({**SETTINGS, "crop": v} for v in (10**6, "a", -1, [224])),
                      *({**SETTINGS, "options": v} for v in ("x", {"quality": []}, {"max_pixels": 10**30}, [1])),
                      {**SETTINGS, "kind": "audio"}, {**SETTINGS, "kind": 3}, {**SETTINGS, "views": "hflip"},
                      {**SETTINGS, "other": 1}]),
        ("classes", [[["x"], "b"], "ab", {"a": 1, "b": 2}, ["a", "a"], ["a"], 3]),
        ("task", ["x", None, "dense"]),
        ("head", ["x", None, ["tiny"], "adapter:x", "dense-tiny"]),
        ("outputs", [0, -1, "2", 1 << 40, True, None, 2.0]),
        ("asked", [None, [], {"tags": 3}]),
        ("results", [None, 3]),
        ("version", [2, None, "1"]),
        ("input", [None, "x", [], {}]),
        ("more", [1]),
    ],
)  # fmt: skip
def test_facts_that_lie(part: str, values: list[Any], tmp_path: Path) -> None:
    good = json.loads(FACTS.pack())
    load_head(saved(tmp_path, good))
    for value in values:
        told = {**good, part: value}
        path = saved(tmp_path, {**told, "head": "tiny"})
        save_file({"x": torch.zeros(1)}, path, {KEY: json.dumps(told)}) if part == "head" else None
        refused(path)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("cell", [0, -1, "8", float("inf"), 8.0, None]),
        ("mean", [[float("nan"), 0.0], [10**400, 0], ["1", "2"], "ab", [0.0], [1e39, 0]]),
        ("std", [[0.0, 1.0], [-1.0, 1.0], [float("nan"), 1.0], [float("inf"), 1.0], {"a": 1, "b": 2}]),
        ("axes", [0, 3, "2", True, 1]),
        ("channels", [0, 3, "2", 10**12]),
    ],
)
def test_inputs_that_lie(part: str, values: list[Any], tmp_path: Path) -> None:
    good = json.loads(FACTS.pack())
    for value in values:
        refused(saved(tmp_path, {**good, "input": {**good["input"], part: value}}))


@pytest.mark.parametrize(
    "asked",
    [{}, {"targets": "x"}, {**VALUES, "std": [0.0]}, {**VALUES, "mean": [1.0, 2.0]}, {**CLASSES, "numbers": [0, 255]},
     {**CLASSES, "numbers": "07"}, {**CLASSES, "palette": "red"}, {**CLASSES, "palette": [256]},
     {**CLASSES, "mode": 3}],
)  # fmt: skip
def test_targets_that_lie(asked: Json, tmp_path: Path) -> None:
    good = {**json.loads(FACTS.pack()), "task": "dense", "head": "dense-tiny", "classes": ["0", "7"], "asked": CLASSES}
    load_head(saved(tmp_path, good))
    refused(saved(tmp_path, {**good, "asked": asked}))


def test_weights_of_other_types(tmp_path: Path) -> None:
    good = json.loads(FACTS.pack())
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int64):
        assert "expected torch.float32" in refused(saved(tmp_path, good, lambda x, dtype=dtype: x.to(dtype)))
    assert "no numbers" in refused(saved(tmp_path, good, lambda x: x * torch.nan))
    assert "size mismatch" in refused(saved(tmp_path, good, lambda x: x.repeat(2)))


def test_results_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    facts = HeadFacts(**{**vars(FACTS), "results": {"psnr": float("inf"), "all": [float("nan"), 1.0]}})
    save_head(tmp_path, facts, build_head("tiny", ABOUT, 2).state_dict())
    assert load_head(tmp_path)[1].results == {"psnr": None, "all": [None, 1.0]}
