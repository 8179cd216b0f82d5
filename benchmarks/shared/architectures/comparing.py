# SPDX-License-Identifier: Apache-2.0
"""One model, saved, compressed and loaded again: whether it answers with the same bits."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from isthmus import weights
from isthmus.weights import WeightFile

from .building import Built, NotBuiltError, build, reason
from .diffusion import DIFFUSERS, build_diffusers
from .loading import load_compressed, load_plain
from .outputs import Outputs, difference, run

Row = dict[str, Any]
LARGE = 64 * 1024  # bytes, from which on `attach` keeps a tensor compressed


def examine(name: str, dtype: torch.dtype) -> Row:
    """A row about a type of transformers or a class of diffusers.

    outcome: "equal"; "differs", "refused" (by us) or "failed" (when running); or what kept us from comparing:
    "not built", "not saved", "not reloaded" and "not repeatable", which are about the plain model alone.
    """
    begin = time.perf_counter()
    row: Row = {"name": name, "outcome": "not built"}
    try:
        built = build_diffusers(name, dtype) if name in DIFFUSERS else build(name, dtype)
        row |= _describe(built)
        with tempfile.TemporaryDirectory() as folder:
            row |= _compare(built, Path(folder))
    except NotBuiltError as error:
        row["reason"] = str(error)
    row["seconds"] = round(time.perf_counter() - begin, 2)
    return row


def _describe(built: Built) -> Row:
    return {
        "class": type(built.model).__name__,
        "loader": built.loader.__name__,
        "dtype": str(built.model.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in built.model.parameters()),
        "inputs": sorted(built.inputs),
    }


def _compare(built: Built, folder: Path) -> Row:
    plain, compressed = folder / "plain", folder / "compressed"
    dtype = built.model.dtype
    try:
        fresh = run(built.model, built.inputs)
        built.model.save_pretrained(plain)
        weights.compress(plain, compressed)
    except Exception as error:
        return {"outcome": "not saved", "reason": reason(error)}
    row: Row = _shares(compressed)
    try:
        wanted, again = (_answer(load_plain, plain, built, dtype, seed) for seed in (3, 4))
    except Exception as error:
        return row | {"outcome": "not reloaded", "reason": reason(error)}
    row["round_trip"] = difference(wanted, fresh) is None
    changed = difference(again, wanted)
    if changed:
        return row | {"outcome": "not repeatable", "reason": changed[0], "difference": changed[1]}
    torch.manual_seed(5)
    try:
        model = load_compressed(compressed, built.loader, dtype)
    except Exception as error:
        return row | {"outcome": "refused", "reason": reason(error)}
    try:
        found = difference(run(model, built.inputs), wanted)
    except Exception as error:
        refused = str(error).startswith("isthmus.weights:")  # as it would be written to
        return row | {"outcome": "refused" if refused else "failed", "reason": reason(error)}
    if found:
        return row | {"outcome": "differs", "reason": found[0], "difference": found[1]}
    return row | {"outcome": "equal"}


def _answer(load: Any, folder: Path, built: Built, dtype: torch.dtype, seed: int) -> Outputs:
    """What a loaded model puts out; seeded otherwise each time, so that weights made up in loading are noticed."""
    torch.manual_seed(seed)
    return run(load(folder, built.loader, dtype), built.inputs)


def _shares(folder: Path) -> Row:
    """Shares of the bytes of tensors: that are stored compressed, and so large that they stay so in a loaded model."""
    coded = large = total = 0
    for path in weights.weight_files(folder):
        file = WeightFile(path)
        for tensor in file.original.values():
            size = tensor.end - tensor.begin
            total += size
            coded += size * file.is_coded(tensor.name)
            large += size * (file.is_coded(tensor.name) and size >= LARGE)
    return {"coded_share": round(coded / max(1, total), 4), "large_share": round(large / max(1, total), 4)}
