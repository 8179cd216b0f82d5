# SPDX-License-Identifier: Apache-2.0
"""Streams made once and kept: they decode to the same integers for ever, whatever machine and version reads them.

`tools/regen_golden.py` made them. Latents are exact by design; pixels may differ by one level between machines, and a
borderline coefficient may be rounded otherwise when another machine encodes, so re-encoding is compared by latents.
"""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs.registry import DECODERS, pretrained
from isthmus.media.image import read_image

GOLDEN = Path(__file__).parent / "golden"
SUFFIXES = (".ist", ".json", ".png")
CASES = sorted(
    {p.relative_to(GOLDEN).with_suffix("") for p in GOLDEN.glob("walloc.*/*") if p.suffix in SUFFIXES}, key=str
)


def golden_tool() -> Any:
    """`tools/regen_golden.py` as a module, for its images."""
    path = Path(__file__).parent.parent / "tools" / "regen_golden.py"
    spec = importlib.util.spec_from_file_location("regen_golden", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(case: Path, suffix: str) -> bytes:
    return (GOLDEN / case.parent / (case.name + suffix)).read_bytes()


def test_every_codec_and_revision_has_whole_cases() -> None:
    labels = golden_tool().QUALITIES
    count = sum(len(qualities) for qualities in labels.values())
    for codec_id in DECODERS:
        assert any((GOLDEN / codec_id).glob("*.ist")), f"no golden streams of {codec_id}"
    for entry in pretrained():
        found = [c for c in CASES if c.name.startswith(f"{entry.name}.r{entry.revision}-")]
        assert len(found) == count * len(entry.tables), (
            f"golden streams of {entry.name}.r{entry.revision}: run tools/regen_golden.py"
        )
    for case in CASES:
        for suffix in SUFFIXES:
            assert (GOLDEN / case.parent / (case.name + suffix)).is_file(), f"{case}{suffix} is missing"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden_stream(case: Path) -> None:
    data, record = read(case, ".ist"), json.loads(read(case, ".json"))
    told = isthmus.inspect(data)
    assert (told["codec"], told["quality"]) == (record["codec"], record["quality"])
    assert (told["tables_hash"], told["weights_hash"]) == (record["tables_hash"], record["weights_hash"])

    latent = isthmus.unpack(data)
    y = latent.planes["y"]
    assert list(y.shape) == record["latent_shape"]
    assert hashlib.sha256(y.numpy().astype("<i2").tobytes()).hexdigest() == record["latent_sha256"]
    assert latent.codec.pack(latent) == data

    expected = read_image(GOLDEN / case.parent / (case.name + ".png"))
    decoded = isthmus.decode(data, output="numpy")
    assert list(decoded.shape) == record["image_shape"]
    assert np.abs(decoded.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoding_again(case: Path) -> None:
    """Few latents may differ on another machine, by one; where none does, the bytes are the same."""
    data, record = read(case, ".ist"), json.loads(read(case, ".json"))
    image = golden_tool().images()[record["image"]]
    codec = isthmus.load(record["codec"])
    again = codec.encode(image, quality=record["quality"], entropy=record.get("entropy", "factorized"))
    y, expected = (codec.unpack(stream).planes["y"].int() for stream in (again, data))
    differing = int((y != expected).sum())
    assert differing <= 2 + y.numel() // 1000 and int((y - expected).abs().max()) <= 1
    assert torch.equal(y, expected) == (again == data)
