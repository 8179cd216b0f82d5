# SPDX-License-Identifier: Apache-2.0
"""Ships a finished training: copies its weights, recipe and curves into isthmus/pretrained as the next revision.

python tools/publish_weights.py runs/f8c48 walloc-image-f8c48 "one line that says what it is for"

Beside the weights it writes NAME.rN.tables.safetensors, which has all but the networks: what unpacking, encoding and
training on latents open. What is no network is the family's to say (`NETWORK` of its `weights`).
"""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

from isthmus.codecs.registry import codec_class, family_of
from isthmus.codecs.trained_file import write_tables

PRETRAINED = Path(__file__).parent.parent / "isthmus" / "pretrained"


def main(folder: Path, name: str, summary: str) -> None:
    index = PRETRAINED / "index.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    recipe = json.loads((folder / f"{name}.json").read_text())
    revision = 1 + max((e["revision"] for e in entries if e["name"] == name), default=0)
    stem = f"{name}.r{revision}"
    for suffix, source in {
        ".safetensors": f"{name}.safetensors",
        ".json": f"{name}.json",
        ".validation.csv": "validation.csv",
        ".validation.png": "validation.png",
    }.items():
        shutil.copyfile(folder / source, PRETRAINED / (stem + suffix))
    kind = codec_class(next(iter(recipe["tables"]))).kind
    room = f"isthmus.codecs.{family_of(name)}"
    networks = import_module(f"{room}.weights" if kind == "image" else f"{room}.{kind}.weights").NETWORK
    write_tables(PRETRAINED / f"{stem}.safetensors", PRETRAINED / f"{stem}.tables.safetensors", networks)
    entry = {
        "name": name,
        "kind": kind,
        "revision": revision,
        "file": f"{stem}.safetensors",
        "summary": summary,
        "tables": recipe["tables"],
        "weights_hash": recipe["weights_hash"],
    }
    index.write_text(json.dumps([*entries, entry], indent=1) + "\n")
    print(f"{stem}: tables {recipe['tables']}, weights {recipe['weights_hash']}")


if __name__ == "__main__":
    if len(sys.argv) != 4 or "--help" in sys.argv:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
