# SPDX-License-Identifier: Apache-2.0
"""Imports flow one way, and importing is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import isthmus

PACKAGE = Path(isthmus.__file__).parent
FREE = {"errors", "bitstream", "signals", "varint"}  # the container and what it is made of: may be used by all
TIERS = [  # the lowest first; a module imports from its own folder and from lower tiers
    {"kernels"},
    {"entropy"},
    {"models"},
    {"media", "codecs"},
    {"__init__", "samples"},
    {"bench", "training", "datasets", "weights"},
    {"cli", "cli_bench", "cli_train", "cli_weights", "__main__"},
]
# Within a tier folders do not know each other, with these exceptions, each in one direction alone:
# - codecs take the samples that callers hand over (numpy, torch, PIL) through media's array conversion, so that one
#   module knows which arrays are images; media knows nothing of codecs;
# - cli.py hangs the sub-commands of cli_bench, cli_train and cli_weights below its own, and __main__ calls it.
WITHIN = {("codecs", "media"), ("cli", "cli_bench"), ("cli", "cli_train"), ("cli", "cli_weights"), ("__main__", "cli")}
CODECS_TAKE_FROM_MEDIA = {"isthmus.media.arrays"}
SAMPLES_FOR = {"cli", "cli_bench", "cli_train"}  # beside tests


def rank(part: str) -> int:
    return next(i for i, tier in enumerate(TIERS) if part in tier)


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The folder or top module that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


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


def allowed(part: str, target: str) -> bool:
    _, _, rest = target.partition(".")
    used = rest.split(".")[0] or "__init__"
    if used in FREE:
        return True
    if part in FREE:
        return False
    if used == "samples":
        return part in SAMPLES_FOR
    if (part, used) == ("codecs", "media"):
        return target in CODECS_TAKE_FROM_MEDIA
    return used == part or (part, used) in WITHIN or rank(used) < rank(part)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    part = part_of(path)
    assert part in FREE or any(part in tier for tier in TIERS), f"{part}: a new part needs its place in the design"
    wrong = [target for target in imports(path) if not allowed(part, target)]
    assert not wrong, f"{path.relative_to(PACKAGE)} may not import {', '.join(wrong)}"


def test_the_free_modules_use_only_each_other() -> None:
    uses: dict[str, set[str]] = {part: set() for part in FREE}
    for path in modules():
        if part_of(path) in FREE:
            uses[part_of(path)] |= {target.split(".")[1] for target in imports(path)}
    assert uses["errors"] == set()
    assert uses["varint"] <= {"errors"}
    assert uses["signals"] <= {"errors", "varint"}
    assert uses["bitstream"] <= FREE


def test_the_rule_sees_what_it_should() -> None:
    for part, target in [
        ("kernels", "isthmus.entropy.coders.rans"),
        ("entropy", "isthmus.models.walloc"),
        ("models", "isthmus.codecs.walloc.image"),
        ("media", "isthmus.codecs.base"),
        ("media", "isthmus"),
        ("codecs", "isthmus.media.files"),
        ("codecs", "isthmus.training.klt"),
        ("bench", "isthmus.training.klt"),
        ("training", "isthmus.samples"),
        ("bench", "isthmus.cli"),
        ("bitstream", "isthmus.codecs.base"),
    ]:
        assert not allowed(part, target), (part, target)
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
