# SPDX-License-Identifier: Apache-2.0
"""Streams made once and kept: they decode to the same integers for ever, whatever machine and version reads them.

`tools/regen_golden.py` made them from the cases of each family. Integers are exact by design; samples may differ by a
little between machines, and a borderline coefficient may be rounded otherwise when another machine encodes, so encoding
again is compared by integers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs.registry import FAMILIES, codec_class, pretrained
from isthmus.media import kinds
from tests.codecs.case import Case, all_ship, decoded, goldens_of, record_of, same

GOLDEN = Path(__file__).parent / "golden"
SUFFIX = {"image": ".png", "audio": ".wav"}  # of the samples that lie beside a stream of a codec with a loss
CASES = [case for family in FAMILIES for case in goldens_of(family)]


@pytest.fixture(autouse=True, scope="module")
def _all_ship() -> Iterator[None]:
    with all_ship(toy=False):
        yield


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)


def place(case: Case, suffix: str) -> Path:
    return GOLDEN / f"{case.golden}{suffix}"


def test_every_codec_id_and_revision_has_whole_cases() -> None:
    kept = {case.golden for case in CASES}
    for codec_id in (i for ids in FAMILIES.values() for i in ids):
        assert any(f"{name}".startswith(f"{codec_id}/") for name in kept), f"no golden streams of {codec_id}"
        there = {f"{codec_id}/{p.stem}" for p in (GOLDEN / codec_id).glob("*.ist")}
        assert there == {name for name in kept if f"{name}".startswith(f"{codec_id}/")}, "streams without a case"
    for entry in pretrained():
        ids = {str(case.golden).split("/")[0] for case in CASES if case.codec == entry.label}
        assert ids == set(entry.tables), f"golden streams of {entry.label}: run tools/regen_golden.py"


def read_record(path: Path) -> Any:
    """What was written of a stream, seconds to as many digits as are told today."""
    return json.loads(path.read_text(), parse_float=lambda text: round(float(text), 6))


@each_case
def test_golden_stream(case: Case) -> None:
    data, record = place(case, ".ist").read_bytes(), read_record(place(case, ".json"))
    told = isthmus.inspect(data)
    assert {key: told[key] for key in record["header"]} == record["header"] and told["codec"] == case.codec

    latent = isthmus.unpack(data)
    assert {name: record_of(plane) for name, plane in latent.planes.items()} == record["planes"]
    assert latent.codec.pack(latent) == data

    found = decoded(isthmus.load(case.codec), data)
    if case.exact:
        assert same(found, case.samples())
        return
    kind = codec_class(told["codec_id"]).kind
    expected, _ = kinds.read(place(case, SUFFIX[kind]), kind, {})
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).max() <= (1 if kind == "image" else 1 / 4096)


@each_case
def test_encoding_again(case: Case) -> None:
    """Few integers may differ on another machine, by one; where none does, the bytes are the same."""
    codec, data, again = isthmus.load(case.codec), place(case, ".ist").read_bytes(), case.encode()
    if case.exact:
        assert again == data
        return
    planes, expected = (codec.unpack(stream).planes for stream in (again, data))
    for name, plane in planes.items():
        a, b = plane.int(), expected[name].int()
        differing = int((a != b).sum())
        assert differing <= 2 + a.numel() // 1000 and int((a - b).abs().max()) <= 1
    if isthmus.inspect(again)["codec_id"] == isthmus.inspect(data)["codec_id"]:
        assert all(torch.equal(planes[name], expected[name]) for name in planes) == (again == data)
    else:  # encoders of today choose what is smaller
        assert len(again) < len(data)
