# SPDX-License-Identifier: Apache-2.0
"""What a manifest says of planes decides how memory is laid out: it is believed only where it can be so."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.datasets.checks import describe, verify
from isthmus.errors import CorruptStreamError
from tests.datasets.photos import make_photos
from tests.datasets.test_transcode import run


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest")
    run(make_photos(folder / "photos", ("a",), 1), folder / "latents")
    return folder / "latents"


@pytest.mark.parametrize("edit", [
    {"planes": {"y": None}}, {"planes": {"y": []}}, {"y": {"dtype": None}}, {"y": {"dtype": []}},
    {"y": {"shape": "x"}}, {"y": {"shape": [-1, 4, 5]}}, {"y": {"shape": [12, 4, 1.5]}}, {"y": {"shape": [10**30, 4]}},
    {"y": {"shape": [1 << 21] * 4}}, {"y": {"mean": 3}}, {"y": {"mean": [1]}}, {"y": {"std": ["x"] * 12}},
    {"y": {"std": None}}, {"y": {"step": [1e999] * 12}}, {"columns": {"key": 3}},
    {"codec": {"tables_hash": [1]}}, {"codec": {"tables_hash": 3}},
], ids=str)  # fmt: skip
def test_what_cannot_be_so(target: Path, edit: dict[str, Any]) -> None:
    path = target / "manifest.json"
    before = path.read_text()
    told = json.loads(before)
    told["planes"]["y"].update(edit.pop("y", {}))
    told.update(edit)
    path.write_text(json.dumps(told))
    try:
        for read in (describe, verify):
            with pytest.raises(CorruptStreamError, match=r"manifest\.json: damaged, or not of a data set"):
                read(target)
    finally:
        path.write_text(before)
    assert verify(target).whole
