# SPDX-License-Identifier: Apache-2.0
"""Ships a finished training: copies its weights, recipe and curves into isthmus/pretrained as the next revision.

python tools/publish_weights.py runs/f8c48 walloc-image-f8c48 "one line that says what it is for"
"""

import json
import shutil
import sys
from pathlib import Path

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
    kept = ("tables", "weights_hash")
    entry = {"name": name, "revision": revision, "file": f"{stem}.safetensors", "summary": summary}
    entries.append(entry | {k: recipe[k] for k in kept})
    index.write_text(json.dumps(entries, indent=1) + "\n")
    print(f"{stem}: tables {recipe['tables']}, weights {recipe['weights_hash']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
