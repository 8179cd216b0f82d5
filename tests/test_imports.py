# SPDX-License-Identifier: Apache-2.0
"""The house: imports flow one way, no modules import each other in a circle, rooms and files stay small."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import isthmus

PACKAGE = Path(isthmus.__file__).parent
# The ground: free to all rooms above, each only to those before it.
GROUND = [
    "errors",
    "varint",
    "forks",
    "lazy",
    "signatures",
    "devices",
    "inference",
    "progress",
    "files",
    "options",
    "signals",
    "arrays",
    "bitstream",
]
TIERS = [  # the lowest first; a module imports from its own room and from lower tiers, not from rooms beside its own
    {"kernels"},
    {"entropy"},
    {"models", "optim"},
    {"codecs", "media"},
    {"__init__", "samples"},
    {"datasets", "weights", "split"},
    {"training"},
    {"bench"},
    {"cli", "__main__"},
]
# All that a family of codecs sees of its room.
CODECS_SHARE = {
    "base",
    "batching",
    "of_file",
    "planar",
    "planes",
    "registry",
    "tables_file",
    "together",
    "trained",
    "trained_file",
    "units",
}
SAMPLES_FOR = {"cli"}  # beside tests
GENERATED = {"kernels/rans/unrolled.py"}
MOST_FILES, MOST_LINES = 15, 250


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


def parts_of(path: Path) -> tuple[str, ...]:
    """Room, rooms within it and name of a module: ("codecs", "walloc", "image"), ("__init__",)."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def name_of(path: Path) -> str:
    return ".".join(("isthmus", *parts_of(path))).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules of isthmus that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "isthmus")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "isthmus":
                for alias in node.names:
                    below = PACKAGE.parent.joinpath(*node.module.split("."), alias.name)
                    is_module = below.is_dir() or below.with_suffix(".py").is_file()
                    yield f"{node.module}.{alias.name}" if is_module else node.module


def rank(room: str) -> int:
    return next(i for i, tier in enumerate(TIERS) if room in tier)


def allowed(importer: tuple[str, ...], target: str) -> bool:
    room, used = importer[0], (target.split(".")[1:] or ["__init__"])
    if used[0] in GROUND:
        return room not in GROUND or GROUND.index(used[0]) <= GROUND.index(room)
    if room in GROUND:
        return False
    if used[0] == "samples":
        return room in SAMPLES_FOR
    if room == used[0] == "codecs":
        shared = len(used) == 1 or used[1] in CODECS_SHARE
        return shared or (len(importer) > 2 and used[1] == importer[1])
    if (room, used[0]) == ("__main__", "cli"):
        return True
    return used[0] == room or rank(used[0]) < rank(room)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    parts = parts_of(path)
    assert parts[0] in GROUND or any(parts[0] in tier for tier in TIERS), f"{parts[0]}: a new room needs its tier"
    wrong = [target for target in imports(path) if not allowed(parts, target)]
    assert not wrong, f"{path.relative_to(PACKAGE)} may not import {', '.join(wrong)}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions count too."""
    known = {name_of(path): path for path in modules()}
    graph = {name: {t for t in imports(path) if t in known and t != name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_rooms_and_files_stay_small() -> None:
    folders: dict[Path, int] = {}
    lengths = {}
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".cu", ".cuh"):
            folders[path.parent] = folders.get(path.parent, 0) + 1
            lengths[str(path.relative_to(PACKAGE))] = len(path.read_text().splitlines())
    assert not {str(f): n for f, n in folders.items() if n > MOST_FILES}
    assert not {f: n for f, n in lengths.items() if n > MOST_LINES and f not in GENERATED}
    assert statistics.median(n for f, n in lengths.items() if not f.endswith("__init__.py")) < 115


def test_the_rule_sees_what_it_should() -> None:
    for importer, target in [
        ("kernels.rans.lanes", "isthmus.entropy.coders.rans"),
        ("entropy.tables.family", "isthmus.models.walloc"),
        ("models.walloc", "isthmus.codecs.walloc.image"),
        ("models.walloc", "isthmus.optim.muon"),
        ("media.image", "isthmus.codecs.base"),
        ("media.image", "isthmus"),
        ("codecs.walloc.image", "isthmus.media.image"),
        ("codecs.walloc.image", "isthmus.training.walloc.klt"),
        ("codecs.walloc.image", "isthmus.codecs.dfloat"),
        ("codecs.registry", "isthmus.codecs.walloc.image"),
        ("weights.reports.report", "isthmus.training.walloc.klt"),
        ("training.walloc.trainer", "isthmus.bench.report"),
        ("training.walloc.trainer", "isthmus.samples"),
        ("bench.report", "isthmus.cli.main"),
        ("bitstream.reader", "isthmus.codecs.base"),
        ("files", "isthmus.arrays.image"),
    ]:
        assert not allowed(tuple(importer.split(".")), target), (importer, target)
    assert "isthmus.kernels.wavelet.image" in set(imports(PACKAGE / "codecs" / "walloc" / "image.py"))


LIGHT = """
import sys, threading
import torch
before = set(sys.modules)
import isthmus
new = {m.split(".")[0] for m in set(sys.modules) - before}
import isthmus.kernels.threads as threads
assert threading.active_count() == 1, threading.enumerate()
assert threads._pool is None
assert not torch.cuda.is_initialized()
print(" ".join(sorted(new)))
print(" ".join(m for m in sys.modules if m == "PIL.Image" or m.startswith(("scipy.", "isthmus."))))
"""


def test_importing_is_light() -> None:
    """No extra, no command line, no thread; what numba itself looks for in scipy, if that is there, is its affair."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    new, detail = (set(line.split()) for line in done.stdout.splitlines())
    heavy = {"matplotlib", "typer", "click", "rich", "PIL", "compressai", "pywt", "pandas", "torchvision", "hypothesis"}
    assert not new & heavy
    assert "PIL.Image" not in detail
    assert not detail & {"scipy.signal", "scipy.stats", "scipy.optimize", "scipy.special", "scipy.linalg"}
    assert not {m for m in detail if m.startswith(("isthmus.bench", "isthmus.training", "isthmus.cli"))}


WITHOUT_TORCH = """
import sys
from isthmus import weights
import isthmus.cli.main
made = weights.compress(sys.argv[1], sys.argv[2])
weights.verify(sys.argv[2])
weights.decompress(sys.argv[2], sys.argv[2] + ".safetensors")
weights.inspect(sys.argv[2])
assert "torch" not in sys.modules
assert any("huggingface" in type(finder).__module__ for finder in sys.meta_path)
assert set(weights.__all__) <= set(dir(weights))
assert not {name for name in weights.__all__ if type(getattr(weights, name)) is type(sys)}
assert weights.open.__module__ == "isthmus.weights.reading" and "torch" in sys.modules
"""


def test_files_of_weights_are_coded_without_torch(tmp_path: Path) -> None:
    """Which takes longer to load than a small file to compress; its names in isthmus.weights come on demand."""
    header = b'{"x":{"dtype":"BF16","shape":[4096],"data_offsets":[0,8192]}}'
    source, target = tmp_path / "a.safetensors", tmp_path / "a.dfloat"
    source.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8192))
    command = [sys.executable, "-c", WITHOUT_TORCH, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
