# SPDX-License-Identifier: Apache-2.0
"""What shards are called: `X.safetensors` as they were, `X.dfloat` compressed, which no loader takes for plain."""

from pathlib import Path

PLAIN, PACKED = ".safetensors", ".dfloat"
MARK = "dfloat"  # entry of the metadata that compressed files have


def packed_name(path: Path) -> Path:
    """What a shard is called compressed."""
    return path.with_suffix(PACKED) if path.suffix == PLAIN else path


def plain_name(path: Path) -> Path:
    """What a compressed shard is called decompressed."""
    return path.with_suffix(PLAIN) if path.suffix == PACKED else path
