# SPDX-License-Identifier: Apache-2.0
"""Labels of a data set as a head counts them: by name, by number where neither has names, else refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isthmus.datasets import LatentDataset, transcode
from isthmus.training.heads import HeadRecipe, train_classifier
from isthmus.training.heads.evaluation import evaluated, labels_of, outputs_of
from tests.training.heads.conftest import CODEC, photos


def of(labels: list[int], own: Any = None, classes: Any = None, outputs: int | None = None) -> list[int]:
    return labels_of("set", np.array(labels), own, classes, outputs).tolist()


def test_names_and_numbers() -> None:
    assert of([0, 2, 1, -1, -7, -100], list("abc"), list("cab")) == [1, 0, 2, -100, -100, -100]
    assert of([0, -1, 2], outputs=3) == [0, -100, 2] and of([-1, -5]) == of([-1, -5], list("ab")) == [-100, -100]
    assert of([1], list("ab"), list("b")) == [0]
    for given, message in (
        (
            ([0, 1], list("abcde"), None, 1000),
            "'c' and 2 more, the 1000 of the head have no names",
        ),
        (([0, 1], None, list("ab")), "its labels are numbers without names, the head has classes 'a', 'b': give its"),
        (([0, 5], None, None, 3), "set: label 5, the head has 3 classes: expected numbers from 0 to 2"),
        (([10**9], None, None, 3), "label 1000000000"),
        (([0, 2], list("ab"), list("ab")), "label 2, the data set has 2 classes"),
        (([0, 1], list("ab"), list("b")), "class 'a' is none of the 1"),
    ):
        with pytest.raises(ValueError, match=message):
            of(*given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label 3, the head has 2 classes"):
        evaluated(torch.zeros(2, 2), np.array([0, 3]))


def test_how_many_outputs() -> None:
    assert outputs_of("set", np.array([-1, 4, 0]), None) == 5 and outputs_of("set", np.array([1]), list("abc")) == 3
    for labels, classes, message in (([10**9, 0], None, "label 1000000000"), ([3], list("abc"), "it has 3 classes")):
        with pytest.raises(ValueError, match=message):
            outputs_of("set", np.array(labels), classes)


def numbered(folder: Path, labels: list[int]) -> LatentDataset:
    """A data set of a table whose labels are numbers."""
    files = sorted(photos(folder / "photos", (len(labels) + 1) // 2, 1).rglob("*.png"))
    lines = [f"{path},{label}\n" for path, label in zip(files, labels, strict=False)]
    (folder / "list.csv").write_text("path,label\n" + "".join(lines))
    transcode(folder / "list.csv", folder / "latents", codec=CODEC, workers=0, progress=False)
    return LatentDataset(folder / "latents")


def test_any_number_below_zero_is_no_label(tmp_path: Path) -> None:
    data = numbered(tmp_path, [0, 1, -1, -3])
    assert data.labels.tolist() == [0, 1, -100, -100] == [sample["label"] for sample in data]
    folder = LatentDataset(tmp_path / "list.csv", codec=CODEC)
    assert folder.labels.tolist() == [0, 1, -100, -100]


def test_trainings_refuse_labels_that_do_not_fit(train: LatentDataset, tmp_path: Path) -> None:
    recipe = replace(HeadRecipe(), epochs=0.1)
    absurd = numbered(tmp_path / "absurd", [0, 10**9])
    with pytest.raises(ValueError, match="label 1000000000, a head has at most"):
        train_classifier(absurd, recipe, tmp_path / "x")
    with pytest.raises(ValueError, match="numbers without names, the head has classes 'flat', 'rough'"):
        train_classifier(train, recipe, tmp_path / "x", validation=absurd)
    numbers = numbered(tmp_path / "numbers", [0, 1])
    with pytest.raises(ValueError, match="classes are 'flat', 'rough', the 2 of the head have no names"):
        train_classifier(numbers, recipe, tmp_path / "x", validation=train)
    with pytest.raises(ValueError, match="label 1000000000, the head has 2 classes"):
        train_classifier(numbers, recipe, tmp_path / "x", validation=absurd)
    with pytest.raises(ValueError, match="latents of 8x8 cells, this backbone takes 28x28 only"):
        train_classifier(train, replace(recipe, head="adapter:vit-b-16"), tmp_path / "x")
    assert not (tmp_path / "x").exists()
