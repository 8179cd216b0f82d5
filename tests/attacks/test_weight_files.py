# SPDX-License-Identifier: Apache-2.0
"""Weight files from outside: whatever they claim, an error that names the tensor, nothing written, little memory."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import weights
from isthmus.codecs.dfloat import coding
from isthmus.errors import CorruptStreamError, IsthmusError
from tests.weights.sample_files import entries_of, mixed, pack, write

MANY = 10**18


def refused(path: Path, match: str) -> None:
    """Compressing, restoring and reporting all refuse, and write nothing."""
    for work in (weights.compress, weights.decompress):
        with pytest.raises(CorruptStreamError, match=match):
            work(path, path.with_name("out"))
        assert not path.with_name("out").exists()
    with pytest.raises(CorruptStreamError, match=match):
        weights.inspect(path)


def entry(begin: Any, end: Any, dtype: Any = "BF16", shape: Any = (4,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "0 bytes"),
        (b"\0" * 7, "7 bytes"),
        (struct.pack("<Q", 1 << 62), "where the length of a header should be"),
        (struct.pack("<Q", 100) + b"{}", "is announced"),
        (struct.pack("<Q", (1 << 64) - 1) + b"{}", "where the length of a header should be"),
        (pack("{", b""), "not JSON"),
        (pack("[" * 100_000, b""), "not JSON"),
        (pack("[]", b""), "expected an object"),
        (pack("\udcff".encode("utf-8", "surrogatepass").decode("latin-1"), b""), "not JSON"),
        (pack('{"a":1,"a":2}', b""), "twice"),
        (pack({"__metadata__": {"a": 1}}, b""), "strings"),
        (pack({"__metadata__": []}, b""), "strings"),
    ],
    ids=range(12),
)
def test_no_header(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    refused(tmp_path / "bad", match)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"one": entry(0, 8), "two": entry(4, 12)}, "'two'.*overlaps"),
        ({"one": entry(0, 8), "two": entry(0, 8)}, "overlaps"),
        ({"one": entry(0, 8), "two": entry(10, 18)}, "'two'.*gap"),
        ({"one": entry(8, 16)}, "'one'.*gap"),
        ({"one": entry(0, 6)}, "'one'.*not its size"),
        ({"one": entry(8, 0)}, "'one'.*not its size"),
        ({"one": entry(0, MANY, shape=(MANY // 2,))}, "within tensor 'one'"),
        ({"one": entry(0, 8, shape=(1 << 61, 8))}, "'one'.*not its size"),
        ({"one": entry(0, 1 << 63, shape=(1 << 62,))}, "'one' has the entry"),
        ({"one": entry(0, 8, shape=(-4,))}, "'one' has the entry"),
        ({"one": entry(0, 8, shape=(4.0,))}, "'one' has the entry"),
        ({"one": entry(0, 8, shape=(True, 4))}, "'one' has the entry"),
        ({"one": entry(0, 8, shape="4")}, "'one' has the entry"),
        ({"one": entry("0", 8)}, "'one' has the entry"),
        ({"one": entry(0, 8, dtype=3)}, "'one' has the entry"),
        ({"one": entry(0, 8, dtype="bf16")}, "'one' has the entry"),
        ({"one": entry(0, 8) | {"more": 1}}, "'one' has the entry"),
        ({"one": {"dtype": "BF16"}}, "'one' has the entry"),
        ({"one": 3}, "'one' has the entry"),
        ({"one": None}, "'one' has the entry"),
        ({"one": entry(0, 8)}, "8 bytes follow the last tensor"),
        ({"one": entry(0, 32, shape=(16,))}, "within tensor 'one': 32 bytes of tensors are announced, 16 are there"),
        ({}, "16 bytes follow the last tensor"),
    ],
    ids=range(23),
)
def test_headers_that_lie(tmp_path: Path, table: Any, match: str) -> None:
    (tmp_path / "bad").write_bytes(pack(table, bytes(16)))
    refused(tmp_path / "bad", match)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write(tmp_path / "model.safetensors", mixed())
    weights.compress(tmp_path / "model.safetensors", tmp_path / "packed.safetensors", index=True)
    return tmp_path / "packed.safetensors"


Rewrite = Callable[..., Path]


@pytest.fixture
def rewritten(packed: Path) -> Rewrite:
    """Writes the compressed file again with other tensors (bytes; None: left out) and other marks in its metadata."""
    file = weights.WeightFile(packed).file

    def write_again(changes: dict[str, Any] | None = None, mark: Any = None, **marks: Any) -> Path:
        table: dict[str, Any] = {}
        data, at = b"", 0
        for name, tensor in file.tensors.items():
            body = (changes or {}).get(name, file.data(name).tobytes())
            if body is not None:
                shape = list(tensor.shape) if len(body) == tensor.end - tensor.begin else [len(body)]
                table[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [at, at + len(body)]}
                data, at = data + body, at + len(body)
        # Without `checks`, as files of earlier versions are, so that what lies behind them is attacked.
        known = json.loads(file.header.metadata["dfloat"]) | {"checks": None} | marks
        told = json.dumps(known) if mark is None else mark
        table["__metadata__"] = {"dfloat": told}
        path = packed.with_name("changed.safetensors")
        path.write_bytes(pack(table, data))
        return path

    assert weights.verify(write_again())
    return write_again


def unrestorable(path: Path, match: str = "") -> None:
    target = path.with_name("out")
    with pytest.raises(IsthmusError, match=match):
        weights.decompress(path, target)
    assert not target.exists() and not list(path.parent.glob(".*"))
    with pytest.raises(IsthmusError, match=match):
        weights.verify(path)


@pytest.mark.parametrize(
    "marks",
    [
        {"mark": "{"},
        {"mark": "3"},
        {"mark": "[" * 100_000},
        {"mark": "{}"},
        {"format": "dfloat.2"},
        {"mode": "zip"},
        {"mode": ["huffman"]},
        {"index": 1},
        {"checks": ""},
        {"checks": "0123456"},
        {"checks": "01234567" * 2},
        {"checks": 1},
        {"bytes": -1},
        {"bytes": "1"},
        {"bytes": 10**15},
        {"header_bytes": 10**9},
        {"header_bytes": 3},
        {"sha256": "00"},
        {"sha256": 3},
        {"base": 3},
        {"base": {"a": "00"}},
        {"delta": {"large": "a"}},
        {"delta": {"positions": "a"}, "base": {"a": "0" * 64}},
        {"delta": {"absent": "a"}, "base": {"a": "0" * 64}},
    ],
    ids=str,
)
def test_marks(rewritten: Rewrite, marks: dict[str, Any]) -> None:
    unrestorable(rewritten(**marks), "changed.safetensors: ")


def test_another_sha256(rewritten: Rewrite) -> None:
    unrestorable(rewritten(sha256="0" * 64), "SHA-256 of the result")


def test_original_headers(rewritten: Rewrite) -> None:
    """The deflated header may be damaged, larger than told, or describe other tensors."""
    table, _ = entries_of(mixed())
    unrestorable(rewritten({"dfloat.header": None}), "'dfloat' is damaged")
    unrestorable(rewritten({"dfloat.header": b"x"}), "'dfloat.header'")
    unrestorable(rewritten({"dfloat.header": zlib.compress(bytes(1 << 20))}), "'dfloat.header'")
    for change, match in (
        ({"extra": entry(0, 0, shape=(0,))}, "'extra' is not there"),
        ({"positions": table["positions"] | {"dtype": "F64"}}, "'positions' is not what"),
        ({"layer.weight": table["layer.weight"] | {"dtype": "I16"}}, "'layer.weight' is not there"),
        ({"layer.weight": table["layer.weight"] | {"dtype": "F32", "shape": [150, 256]}}, "'layer.weight'"),
        ({"half": table["half"] | {"shape": [40, 51]}}, "'half'"),
    ):
        header = json.dumps(table | change).encode()
        whole = sum(t.nbytes for t in mixed().values())
        path = rewritten(
            {"dfloat.header": zlib.compress(header)}, header_bytes=len(header), bytes=8 + len(header) + whole
        )
        unrestorable(path, match)


def test_tensors_left_out_or_changed(rewritten: Rewrite) -> None:
    unrestorable(rewritten({"large.dfloat": None}), "'large' is not there")
    unrestorable(rewritten({"positions": None}), "'positions' is not there")
    unrestorable(rewritten({"positions": bytes(800)}), "SHA-256")
    unrestorable(rewritten({"large.dfloat": b""}), "'large'.*DFL1")
    other = coding.encode(np.zeros(350_001, np.uint16)).tobytes()
    unrestorable(rewritten({"large.dfloat": other}), "'large'.*shape")
    unrestorable(rewritten({"large.dfloat": coding.encode(np.zeros(700_000, np.uint8)).tobytes()}), "'large'.*shape")


def test_a_truncated_shard(packed: Path) -> None:
    whole = packed.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100):
        packed.write_bytes(whole[:length])
        unrestorable(packed, "cut")
        with pytest.raises(CorruptStreamError, match="cut"):
            weights.total_bytes(packed)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere(packed: Path, data: st.DataObject) -> None:
    """A changed byte is found, or is one that nothing reads; the result is whole or there is none."""
    content = bytearray(packed.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.one_of(st.integers(0, begin), st.integers(begin, len(content) - 1)))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged, target = packed.with_name("damaged"), packed.with_name("out")
    damaged.write_bytes(content)
    target.unlink(missing_ok=True)
    try:
        weights.decompress(damaged, target, threads=1)
    except IsthmusError as error:
        assert str(error) and not target.exists()
    else:
        assert target.read_bytes() == packed.with_name("model.safetensors").read_bytes()
