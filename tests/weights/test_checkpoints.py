# SPDX-License-Identifier: Apache-2.0
"""Files and folders of weights: the same bytes come back, and nothing is left half done."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from isthmus import weights
from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.codecs.dfloat.tensors import TORCH
from isthmus.errors import CorruptStreamError, UnreadableFileError, UnwritableFileError, WeightsMismatchError
from isthmus.weights import compression, decompression
from tests.weights.sample_files import mixed, normal, pack, same, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "model.safetensors", mixed(), {"format": "pt", "note": "é"})
    return tmp_path / "model.safetensors"


def restored(path: Path, **options: object) -> bytes:
    target = path.with_name("again.bin")
    weights.decompress(path, target, **options)  # type: ignore[arg-type]
    return target.read_bytes()


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("mode", ["huffman", "rans"])
def test_same_bytes_come_back(source: Path, mode: str, index: bool) -> None:
    target = source.with_name("model.df.safetensors")
    done = weights.compress(source, target, mode=mode, index=index, threads=2)  # type: ignore[arg-type]
    assert [(d.source, d.target, d.skipped) for d in done] == [(source, target, False)]
    assert done[0].source_bytes == source.stat().st_size > done[0].target_bytes == target.stat().st_size
    assert restored(target) == source.read_bytes() == restored(target, threads=1)
    assert weights.verify(target) == [target]


def test_bytes_do_not_depend_on_threads_or_parts(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for threads, group, part in ((1, 1 << 25, 64), (3, 1 << 25, 64), (2, 1000, 64), (2, 1, 1)):
        monkeypatch.setattr(compression, "GROUP_BYTES", group)
        monkeypatch.setattr(compression, "PART", part)
        monkeypatch.setattr(decompression, "PART_BYTES", group)
        target = source.with_name(f"{threads}-{group}-{part}.safetensors")
        weights.compress(source, target, threads=threads)
        assert restored(target, threads=threads) == source.read_bytes()
        made.append(target.read_bytes())
    assert len(set(made)) == 1


def test_it_is_a_safetensors_file(source: Path) -> None:
    target = source.with_name("df.safetensors")
    weights.compress(source, target)
    with safe_open(target, "pt") as file:
        assert file.metadata()["format"] == "pt" and file.metadata()["note"] == "é"
        assert json.loads(file.metadata()["dfloat"])["format"] == "dfloat.1"
        names = set(file.keys())
    raw = load_file(target)
    assert {"layer.weight.dfloat", "half.dfloat", "eight.dfloat", "positions", "flag", "double"} <= names
    assert same(raw["positions"], mixed()["positions"])
    content = target.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert int.from_bytes(content[:8], "little") % 64 == 56
    assert all(e["data_offsets"][0] % 16 == 0 for name, e in header.items() if name.endswith(".dfloat"))


def test_single_tensors(source: Path) -> None:
    target = source.with_name("df.safetensors")
    weights.compress(source, target)
    file = weights.WeightFile(target)
    assert list(file.original) == list(mixed())
    for name, tensor in mixed().items():
        assert same(file.tensor(name, threads=2), tensor), name
    assert file.is_coded("large") and not file.is_coded("positions") and not file.is_coded("scalar")
    assert file.payload("large").count == 350_000
    with pytest.raises(KeyError):
        file.tensor("absent")


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"x": torch.empty(0, dtype=torch.bfloat16)},
        {"x": normal(64, 64), "x.dfloat": torch.arange(5)},
        {"x": normal(64, 64), "x.dfloat": normal(64, 64), "x.dfloat.dfloat": normal(7)},
        {"": normal(64, 64), "é\n\"'": normal(64, 64)},
        {f"layer.{k}": normal(40, 30, seed=k) for k in range(300)},
    ],
    ids=["none", "empty", "taken name", "taken names", "odd names", "many"],
)
def test_odd_files(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    content = write(source, tensors, None, padding=17)
    weights.compress(source, target)
    assert restored(target) == content
    file = weights.WeightFile(target)
    assert all(same(file.tensor(name), tensor) for name, tensor in tensors.items())


def test_a_dtype_that_is_not_known_stays(tmp_path: Path) -> None:
    header = (
        '{"x":{"dtype":"F4_NEW","shape":[3],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}'
    )
    content = len(header).to_bytes(8, "little") + header.encode() + b"\1\2\3"
    (tmp_path / "a.safetensors").write_bytes(content)
    done = weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done[0].kept == {"F4_NEW": 1, "U8": 1}
    assert restored(tmp_path / "b.safetensors") == content
    rows = {row.name: row for row in weights.inspect(tmp_path / "b.safetensors")}
    assert rows["x"].codings == () and rows["x"].entropy_bits is None
    with pytest.raises(CorruptStreamError, match="F4_NEW"):
        weights.WeightFile(tmp_path / "b.safetensors").tensor("x")


OLDER_TORCH = """
import sys
import torch
del torch.float8_e8m0fnu, torch.float4_e2m1fn_x2
from isthmus import weights
from isthmus.errors import CorruptStreamError
weights.decompress(sys.argv[1], sys.argv[2])
try:
    weights.load_file(sys.argv[1])
except CorruptStreamError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no such dtypes to take away")
def test_an_older_torch_copies_what_it_has_no_dtype_for(tmp_path: Path) -> None:
    scales = torch.full((64, 64), 120, dtype=torch.uint8).view(torch.float8_e8m0fnu)
    save_file({"scale": scales}, tmp_path / "a.safetensors")
    weights.compress(tmp_path / "a.safetensors", tmp_path / "b")
    command = [sys.executable, "-c", OLDER_TORCH, tmp_path / "b", tmp_path / "c"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "tensor 'scale' is F8_E8M0, which the installed torch has no dtype for" in told
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


SMALL: dict[str, dict[str, torch.Tensor]] = {
    "thousands of tiny ones": {f"layers.{k}.bias": normal(16, seed=k) for k in range(3000)},
    "tiny integers": {f"layers.{k}.step": torch.tensor(k) for k in range(1000)},
    "tiny ones behind a large one": {"w": normal(300, 300), **{f"l.{k}": normal(4, seed=k) for k in range(1000)}},
    "small ones": {f"layers.{k}.weight": normal(40, 30, seed=k) for k in range(200)},
    "noise": {"w": torch.randint(256, (20_000,), dtype=torch.uint8)},
    "one byte": {"w": torch.tensor([True])},
    "nothing": {},
}


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "pt", "a": '"__metadata__":{'}], ids=["none", "empty", "some"]
)
@pytest.mark.parametrize("kind", SMALL)
def test_no_file_grows(tmp_path: Path, kind: str, metadata: dict[str, str] | None) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    content = write(source, SMALL[kind], metadata, padding=0)
    done = weights.compress(source, target)[0]
    assert done.target_bytes < 1.01 * done.source_bytes + 400
    assert restored(target) == content and weights.verify(target) == [target]
    with safe_open(target, "pt") as file:
        assert "dfloat" in file.metadata()
    assert weights.WeightFile(target).metadata == (metadata or {})
    assert all(same(weights.WeightFile(target).tensor(n), t) for n, t in list(SMALL[kind].items())[:10])
    assert [d.skipped for d in weights.compress(source, target)] == [True]
    with pytest.raises(CorruptStreamError, match="compressed already"):
        weights.compress(target, tmp_path / "c")


@pytest.mark.parametrize("kind", SMALL)
def test_no_file_that_safetensors_wrote_grows(tmp_path: Path, kind: str) -> None:
    save_file(SMALL[kind], tmp_path / "a.safetensors", {"format": "pt"})
    done = weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")[0]
    assert done.target_bytes < 1.01 * done.source_bytes + 400
    assert restored(tmp_path / "b.safetensors") == (tmp_path / "a.safetensors").read_bytes()


def test_headers_are_tight(tmp_path: Path) -> None:
    for kind in ("small ones", "tiny ones behind a large one"):
        write(tmp_path / "a.safetensors", SMALL[kind])
        assert weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")[0].target_bytes
        content = (tmp_path / "b.safetensors").read_bytes()
        length = int.from_bytes(content[:8], "little")
        spaces = length - len(content[8 : 8 + length].rstrip())
        assert spaces < 64 + len(content) / 256


def test_marks_that_are_wrong(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", SMALL["one byte"])
    weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    content = (tmp_path / "b.safetensors").read_bytes()
    before = b"inserted" + bytes([92]) + b'":['
    place = content.index(before) + len(before)
    for change in (b"9", b"-", b"["):
        (tmp_path / "b.safetensors").write_bytes(content[:place] + change + content[place + 1 :])
        with pytest.raises(CorruptStreamError):
            weights.verify(tmp_path / "b.safetensors")


@pytest.mark.parametrize("dtype", sorted(CODED.keys() & TORCH.keys()))
def test_every_coded_dtype(tmp_path: Path, dtype: str) -> None:
    width = CODED[dtype]
    patterns = torch.randint(120, 128, (512, 64 * width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    save_file({"x": patterns.view(TORCH[dtype])}, tmp_path / "a.safetensors")
    done = weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done[0].kept == {} and done[0].target_bytes < 0.6 * done[0].source_bytes
    assert restored(tmp_path / "b.safetensors") == (tmp_path / "a.safetensors").read_bytes()
    assert same(weights.WeightFile(tmp_path / "b.safetensors").tensor("x"), patterns.view(TORCH[dtype]))


def test_floats_below_a_byte_stay(tmp_path: Path) -> None:
    table = {
        "four": {"dtype": "F4", "shape": [3, 4], "data_offsets": [0, 6]},
        "six": {"dtype": "F6_E3M2", "shape": [4], "data_offsets": [6, 9]},
        "odd": {"dtype": "F4", "shape": [2, 3], "data_offsets": [9, 12]},
    }
    (tmp_path / "a.safetensors").write_bytes(pack(table, bytes(range(12))))
    done = weights.compress(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done[0].kept == {"F4": 2, "F6_E3M2": 1}
    assert restored(tmp_path / "b.safetensors") == (tmp_path / "a.safetensors").read_bytes()
    file = weights.WeightFile(tmp_path / "b.safetensors")
    if hasattr(torch, "float4_e2m1fn_x2"):
        assert file.tensor("four").shape == (3, 2) and file.tensor("four").view(torch.uint8)[0].tolist() == [0, 1]
        with pytest.raises(CorruptStreamError, match=r"'odd': F4 \[2, 3\] has rows that end within a byte"):
            file.tensor("odd")
    with pytest.raises(CorruptStreamError, match="'six' is F6_E3M2, which the installed torch has no dtype for"):
        file.tensor("six")
    for shape, size in (([3, 4], 7), ([3, 3], 4)):
        (tmp_path / "a.safetensors").write_bytes(
            pack({"x": {"dtype": "F4", "shape": shape, "data_offsets": [0, size]}}, bytes(size))
        )
        with pytest.raises(CorruptStreamError, match="'x' of F4.*(not its size|expected whole bytes)"):
            weights.inspect(tmp_path / "a.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in three shards, with its index and other files."""
    root = tmp_path / "model"
    (root / "nested").mkdir(parents=True)
    (root / ".git").mkdir()
    names = {}
    for k in range(3):
        shard = f"model-0000{k + 1}-of-00003.safetensors"
        save_file({f"w{k}": normal(200, 100, seed=k), f"b{k}": normal(8, seed=k)}, root / shard)
        names |= {f"w{k}": shard, f"b{k}": shard}
    (root / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (root / "config.json").write_text("{}")
    (root / "nested" / "vocab.txt").write_text("a b")
    (root / ".git" / "HEAD").write_text("hidden")
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_folders(folder: Path) -> None:
    packed, back = folder.with_name("packed"), folder.with_name("back")
    told: list[int] = []
    done = weights.compress(folder, packed, progress=told.append)
    assert len(done) == 3 and sum(told) == weights.total_bytes(folder) == 3 * (40_000 + 16)
    assert content_of(packed)["nested/vocab.txt"] == b"a b" and ".git/HEAD" not in content_of(packed)
    weights.decompress(packed, back)
    assert content_of(back) == {name: data for name, data in content_of(folder).items() if ".git" not in name}
    assert len(weights.verify(packed)) == 3
    assert {row.file for row in weights.inspect(packed)} == {d.target.name for d in done}


def test_stopped_and_taken_up_again(folder: Path) -> None:
    packed = folder.with_name("packed")
    told: list[int] = []

    def stop(count: int) -> None:
        told.append(count)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.compress(folder, packed, progress=stop)
    shards = sorted(p.name for p in packed.glob("*.dfloat"))
    assert shards == ["model-00001-of-00003.dfloat"]
    assert not list(packed.rglob("*.part")) and not list(packed.rglob(".*"))
    first = packed / shards[0]
    before = first.stat().st_mtime_ns
    assert [d.skipped for d in weights.compress(folder, packed)] == [True, False, False]
    assert first.stat().st_mtime_ns == before
    assert [d.skipped for d in weights.compress(folder, packed)] == [True] * 3
    assert [d.skipped for d in weights.compress(folder, packed, mode="rans")] == [False] * 3
    assert [d.skipped for d in weights.compress(folder, packed, mode="rans", index=True)] == [False] * 3
    save_file({"w0": normal(200, 100, seed=9), "b0": normal(8)}, folder / "model-00001-of-00003.safetensors")
    first.unlink()
    assert [d.skipped for d in weights.compress(folder, packed, mode="rans", index=True)] == [False, True, True]
    weights.verify(packed)


def test_a_killed_run_is_taken_up_again(folder: Path) -> None:
    packed = folder.with_name("packed")
    packed.mkdir()
    left = [packed / f".model-00002-of-00003.dfloat.{name}.part" for name in ("00ff00ff00ff", "123456abcdef")]
    for path in left:
        path.write_bytes(b"half a shard")
    weights.compress(folder, packed)
    assert not list(packed.rglob("*.part"))


@pytest.mark.parametrize("way", [weights.compress, weights.decompress])
def test_nothing_is_written_where_one_shard_is_damaged(folder: Path, way: Callable[..., object]) -> None:
    packed, target = folder.with_name("packed"), folder.with_name("target")
    weights.compress(folder, packed)
    root = folder if way is weights.compress else packed
    last = root / ("model-00003-of-00003" + (".safetensors" if root is folder else ".dfloat"))
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(CorruptStreamError, match=r"model-00003.* is cut within tensor '(w2|dfloat.header)'"):
        way(root, target)
    assert not target.exists()


def test_folders_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnwritableFileError, match="in the source folder"):
        weights.compress(folder, folder / "packed")
    with pytest.raises(UnwritableFileError, match="in the source folder"):
        weights.compress(folder, folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(UnreadableFileError, match="no .safetensors"):
        weights.compress(tmp_path / "none", tmp_path / "x")
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CorruptStreamError, match="model-00002"):
        weights.compress(folder, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_files_that_cannot_be(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "df.safetensors"
    with pytest.raises(UnreadableFileError):
        weights.compress(tmp_path / "absent.safetensors", target)
    with pytest.raises(UnwritableFileError, match="source itself"):
        weights.compress(source, source)
    with pytest.raises(UnwritableFileError, match="does not exist"):
        weights.compress(source, tmp_path / "absent" / "x.safetensors")
    with pytest.raises(CorruptStreamError, match="no compressed weights"):
        weights.decompress(source, target)
    weights.compress(source, target)
    with pytest.raises(CorruptStreamError, match="compressed already"):
        weights.compress(target, tmp_path / "twice.safetensors")
    assert not (tmp_path / "twice.safetensors").exists()
    for options in ({"mode": "zip"}, {"threads": 0}):
        with pytest.raises(ValueError):
            weights.compress(source, target, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"PK\3\4" + bytes(100), "save_file first"),
        (b"GGUF" + bytes(range(1, 100)), "GGUF"),
        (b"just some text", "no safetensors file: it begins with b'just som'"),
        (b"", "0 bytes are no safetensors file"),
        ((200).to_bytes(8, "little") + b"{", "is cut, or no safetensors file"),
    ],
)
def test_files_of_other_kinds(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for work in (weights.verify, weights.inspect, lambda src: weights.compress(src, tmp_path / "x")):
        with pytest.raises(CorruptStreamError) as caught:
            work(path)
        assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_cut_file_names_the_tensor(source: Path, tmp_path: Path) -> None:
    content = source.read_bytes()
    for size, words in ((-1, "is cut within tensor 'zeros'"), (5000, "is cut within tensor 'layer.weight'")):
        (tmp_path / "cut.safetensors").write_bytes(content[:size])
        with pytest.raises(CorruptStreamError, match=words):
            weights.compress(tmp_path / "cut.safetensors", tmp_path / "x")
    (tmp_path / "cut.safetensors").write_bytes(content + b"more")
    with pytest.raises(CorruptStreamError, match="4 bytes follow the last tensor"):
        weights.compress(tmp_path / "cut.safetensors", tmp_path / "x")


def test_checkpoints_of_the_package_dfloat11(tmp_path: Path) -> None:
    published = Path(__file__).parent.parent / "golden" / "dfloat11-upstream"
    for work in (weights.verify, *(partial(way, dst=tmp_path / "x") for way in (weights.compress, weights.decompress))):
        with pytest.raises(CorruptStreamError, match=r"embed.safetensors: .*weights\.UpstreamCheckpoint"):
            work(published)
    assert not (tmp_path / "x").exists()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A base and a fine-tune of it: some weights moved a little, one tensor the same, one new, one of another shape."""
    base = {
        "same": normal(100, 100),
        "moved": normal(300, 300, seed=1),
        "grown": normal(10, 10),
        "count": torch.arange(9),
    }
    moved = base["moved"].clone()
    moved[::9] *= 1.01
    tuned = {**base, "moved": moved, "grown": normal(11, 10), "new": normal(50, 50, seed=2)}
    write(tmp_path / "base.safetensors", base)
    write(tmp_path / "tuned.safetensors", tuned)
    return tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"


@pytest.mark.parametrize("mode", ["huffman", "rans"])
def test_deltas(pair: tuple[Path, Path], tmp_path: Path, mode: str) -> None:
    base, tuned = pair
    alone, delta = tmp_path / "alone.safetensors", tmp_path / "delta.safetensors"
    weights.compress(tuned, alone, mode=mode)  # type: ignore[arg-type]
    weights.compress(tuned, delta, mode=mode, base=base)  # type: ignore[arg-type]
    assert delta.stat().st_size < 0.4 * alone.stat().st_size
    assert restored(delta, base=base) == tuned.read_bytes()
    file = weights.WeightFile(delta, base=base)
    assert list(file.source["delta"]) == [name for name in file.original if name in ("same", "moved")]
    assert list(file.source["base"]) == ["base.safetensors"]
    assert same(file.tensor("moved"), weights.WeightFile(alone).tensor("moved"))
    assert [d.skipped for d in weights.compress(tuned, delta, mode=mode, base=base)] == [True]  # type: ignore[arg-type]
    assert len(weights.inspect(delta)) == 5


def test_bases(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, tuned = pair
    delta = tmp_path / "delta.safetensors"
    weights.compress(tuned, delta, base=base)
    (tmp_path / "folder").mkdir()
    renamed = shutil.copy(base, tmp_path / "folder" / "renamed.safetensors")
    assert restored(delta, base=renamed) == restored(delta, base=tmp_path / "folder") == tuned.read_bytes()
    with pytest.raises(WeightsMismatchError, match="give the base"):
        weights.verify(delta)
    with pytest.raises(WeightsMismatchError, match="SHA-256"):
        weights.verify(delta, base=tuned)
    with pytest.raises(CorruptStreamError, match="decompress it first"):
        weights.compress(tuned, tmp_path / "x.safetensors", base=delta)
    with pytest.raises(UnreadableFileError):
        weights.compress(tuned, tmp_path / "x.safetensors", base=tmp_path / "absent")
    (tmp_path / "none").mkdir()
    with pytest.raises(UnreadableFileError, match="the folder has no"):
        weights.compress(tuned, tmp_path / "x.safetensors", base=tmp_path / "none")


def test_reports(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "df.safetensors"
    weights.compress(source, target)
    before, after = ({row.name: row for row in weights.inspect(path)} for path in (source, target))
    assert list(before) == list(after) == list(mixed())
    for name, row in after.items():
        assert row.bytes == before[name].bytes == before[name].stored_bytes
        assert row.entropy_bits == pytest.approx(before[name].entropy_bits) or row.entropy_bits is None
    assert after["large"].codings == ("huffman", "raw") and after["large"].weights == 350_000
    assert 10.4 < (after["large"].entropy_bits or 0) < after["large"].stored_bits < 10.7
    assert after["zeros"].entropy_bits == 0 and after["positions"].entropy_bits is None
    assert after["nothing"].stored_bits == 0


def test_permissions_are_the_sources(tmp_path: Path) -> None:
    source, made, back = (tmp_path / name for name in ("a.safetensors", "a.dfloat", "b.safetensors"))
    write(source, mixed())
    source.chmod(0o600)
    weights.compress(source, made)
    weights.decompress(made, back)
    assert [path.stat().st_mode & 0o777 for path in (made, back)] == [0o600, 0o600]


def test_sources_are_not_taken_for_an_earlier_model(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "one" / "model.safetensors", mixed())
    write(tmp_path / "two" / "model-1.safetensors", mixed())
    index = {"weight_map": dict.fromkeys(mixed(), "model-1.safetensors")}
    (tmp_path / "two" / "model.safetensors.index.json").write_text(json.dumps(index))
    weights.compress(tmp_path / "one", tmp_path / "made")
    with pytest.raises(UnwritableFileError, match="model.dfloat: of other weights than"):
        weights.compress(tmp_path / "two", tmp_path / "made", delete_source=True)
    assert (tmp_path / "two" / "model-1.safetensors").is_file()
