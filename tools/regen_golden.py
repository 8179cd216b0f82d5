# SPDX-License-Identifier: Apache-2.0
"""Makes the golden streams of `tests/golden`: run it only when a codec id, or a revision that ships, is new.

python tools/regen_golden.py [--replace]

A golden stream holds a byte format to its word: a stream made once decodes for ever. So existing cases stay as they
are; `--replace` is for a format that was never released. The cases are those of `tests/codecs/FAMILY/cases.py`.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for the cases of the tests

import isthmus  # noqa: E402
from isthmus import weights  # noqa: E402
from isthmus.bitstream import read_header  # noqa: E402
from isthmus.codecs.registry import FAMILIES  # noqa: E402
from isthmus.media import kinds  # noqa: E402
from tests.codecs.case import Case, all_ship, decoded, goldens_of, record_of  # noqa: E402
from tests.test_golden import SUFFIX, place  # noqa: E402


def write(case: Case) -> None:
    """The stream, its record, and for a codec with a loss the samples that it decodes to."""
    codec, data = isthmus.load(case.codec), case.encode()
    path = place(case, ".ist")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    write_record(case, data)
    if not case.exact:
        kinds.write(place(case, SUFFIX[codec.kind]), codec.kind, decoded(codec, data), read_header(data).signal)
    print(f"{case.golden}: {len(data)} bytes")


def write_record(case: Case, data: bytes) -> None:
    """What is known of a stream: its header, and dtype, shape and SHA-256 of each plane."""
    planes = {name: record_of(plane) for name, plane in isthmus.unpack(data).planes.items()}
    record = {"header": isthmus.inspect(data), "planes": planes}
    place(case, ".json").write_text(json.dumps(record, indent=1) + "\n")


def weight_files(replace: bool) -> None:
    """Files of `isthmus weights compress`, of the tensors of the golden sets."""
    for case in goldens_of("dfloat"):
        mode = case.options["mode"]
        path = place(case, ".ist").with_name(f"file-{mode}.df.safetensors")
        if path.exists() and not replace:
            continue
        original = path.with_name(f"file-{mode}.safetensors")
        save_file(case.samples(), original, metadata={"format": "pt"})
        weights.compress(original, path, mode=mode, index=True, threads=1)
        original.unlink()
        print(f"{path.name}: {path.stat().st_size} bytes")


def main(replace: bool) -> None:
    with all_ship(toy=False):
        for case in (case for family in FAMILIES for case in goldens_of(family)):
            if replace or not place(case, ".ist").exists():
                write(case)
    weight_files(replace)


if __name__ == "__main__":
    main("--replace" in sys.argv[1:])
