# SPDX-License-Identifier: Apache-2.0
"""A head for devices without torch: a graph that gives symbols, and what makes bytes of them."""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from isthmus.errors import MissingExtraError
from isthmus.files import atomic_write, check_folder
from isthmus.split.export import packer
from isthmus.split.export.heads import head_of

FORMATS = ("onnx", "pt2")
LEAST, MOST, BATCH = 17, 1 << 14, 1 << 12  # sides of pictures and their number, as torch.export is told
EXAMPLE = (2, 3, 64, 72)


def export_head(codec: Any, folder: Path, to: str = "onnx") -> Path:
    """Writes the head of a codec as head.onnx or head.pt2, with head.json, tables.npz and packer.py; gives its path.

    The graph takes `pixels`, uint8 [n, 3, h, w], and `quality`, int64 [] from 1 to 100, and gives `symbols`, int16
    [n, c, ceil(h/8), ceil(w/8)]: those that the codec sends, to the last one. torch.export asks for sides of 17 pixels
    or more. packer.py makes streams of them with numpy alone. Raises ValueError for another format or a codec without
    such a head, MissingExtraError without the packages of the extra `export`, UnwritableFileError.
    """
    if to not in FORMATS:
        raise ValueError(f"export: {to!r}, expected one of {', '.join(FORMATS)}")
    head = head_of(codec)
    check_folder(folder, parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    side = {axis: Dim(name, min=LEAST, max=MOST) for axis, name in ((2, "height"), (3, "width"))}
    example = torch.zeros(EXAMPLE, dtype=torch.uint8), torch.tensor(50)
    shapes = {"pixels": {0: Dim("n", min=1, max=BATCH), **side}, "quality": {}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about themselves
        program = torch.export.export(head, example, dynamic_shapes=shapes)
        data = _onnx(program) if to == "onnx" else _pt2(program)
    atomic_write(path := folder / f"head.{to}", data)
    atomic_write(folder / "head.json", json.dumps(_about(codec), indent=1).encode() + b"\n")
    atomic_write(folder / "tables.npz", _tables(codec.weights.entropy))
    atomic_write(folder / "packer.py", Path(packer.__file__).read_bytes())
    return path


def _onnx(program: Any) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"split export --to onnx ({error}): pip install 'isthmus[export]'") from error
    made = torch.onnx.export(program, dynamo=True, output_names=["symbols"], verbose=False)
    assert made is not None
    found: bytes = made.model_proto.SerializeToString()
    return found


def _pt2(program: Any) -> bytes:
    room = io.BytesIO()
    torch.export.save(program, room)
    return room.getvalue()


def _about(codec: Any) -> dict[str, Any]:
    """What a packer writes into headers: those of streams with factorized tables, which need no contexts."""
    codec_id = codec.FACTORIZED
    return {
        "codec_id": codec_id, "tables_hash": codec.tables_hashes[codec_id], "weights_hash": codec.weights_hash,
        "channels": codec.weights.entropy.expected.shape[1], "factor": codec.cell,
        "precision": codec.weights.entropy.family.precision,
    }  # fmt: skip


def _tables(entropy: Any) -> bytes:
    room, family = io.BytesIO(), entropy.family
    np.savez_compressed(
        room, low=family.low, size=family.size, frequency=family.frequencies, costs=family.costs,
        expected=entropy.expected,
    )  # fmt: skip
    return room.getvalue()
