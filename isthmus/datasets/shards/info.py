# SPDX-License-Identifier: Apache-2.0
"""What a shard says of itself, and what the planes of its latents are like."""

import json
from dataclasses import asdict, dataclass, field
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError

KEY = "isthmus"
VERSION = 1
DTYPES = ("int8", "int16", "int32", "int64")


@dataclass
class PlaneSums:
    """Sums over the values of one plane, exact, so that their order does not matter.

    channels: the first axis. rank: axes of one latent. shape: where all agree. numbers: values of each channel.
    """

    dtype: str
    channels: int
    rank: int
    shape: list[int] | None
    low: int = 0
    high: int = 0
    numbers: int = 0
    sums: list[int] = field(default_factory=list)
    squares: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, planes: NDArray[Any]) -> "PlaneSums":
        """Of integer latents [n, c, ...]."""
        count, channels = planes.shape[:2]
        flat = planes.reshape(count, channels, prod(planes.shape[2:]))
        found = cls(str(planes.dtype), channels, planes.ndim - 1, list(planes.shape[1:]))
        if not flat.size:
            found.sums, found.squares = [0] * channels, [0] * channels
            return found
        found.low, found.high, found.numbers = int(flat.min()), int(flat.max()), count * flat.shape[2]
        wide = np.int32 if max(-found.low, found.high) < 1 << 15 else np.int64
        found.sums = [int(s) for s in flat.sum((0, 2), dtype=np.int64)]
        if wide is np.int32:
            squares = np.square(flat, dtype=np.int32).sum((0, 2), dtype=np.int64)
            found.squares = [int(s) for s in squares]
        else:
            found.squares = [sum(int(v) ** 2 for v in flat[:, c].ravel()) for c in range(channels)]
        return found

    def merged(self, other: "PlaneSums | None") -> "PlaneSums":
        """Of the values of both; sums by channel are dropped where channels differ."""
        if other is None:
            return self
        both, same = [part for part in (self, other) if part.numbers], self.channels == other.channels
        return PlaneSums(
            max(self.dtype, other.dtype, key=DTYPES.index), self.channels if same else 0, max(self.rank, other.rank),
            self.shape if self.shape == other.shape else None,
            min((p.low for p in both), default=0), max((p.high for p in both), default=0),
            self.numbers + other.numbers,
            [a + b for a, b in zip(self.sums, other.sums, strict=True)] if same else [],
            [a + b for a, b in zip(self.squares, other.squares, strict=True)] if same else [],
        )  # fmt: skip

    def checked(self) -> "PlaneSums":
        """Itself, of a shard from anywhere. Raises ValueError for what cannot be."""
        numbers = [self.channels, self.rank, self.low, self.high, self.numbers, *(self.shape or ())]
        if not all(type(n) is int for n in (*numbers, *self.sums, *self.squares)):
            raise ValueError("a plane with sums that are no whole numbers")
        if self.dtype not in DTYPES or not 1 <= self.rank <= 4 or min(0, self.channels, self.numbers) < 0:
            raise ValueError(f"a plane of {self.dtype!r}, {self.rank} axes, {self.channels} channels")
        if not -(1 << 63) <= self.low <= self.high < 1 << 63 or len(self.sums) != len(self.squares):
            raise ValueError(f"a plane of {self.low} to {self.high}")
        if len(self.sums) not in (0, self.channels) or (self.shape is not None and len(self.shape) != self.rank):
            raise ValueError(f"a plane of {self.channels} channels and shape {self.shape} with {len(self.sums)} sums")
        return self

    def describe(self) -> dict[str, Any]:
        """For the manifest: smallest dtype that holds all values, and mean and standard deviation by channel."""
        n = max(1, self.numbers)
        known = bool(self.channels)
        means = [s / n for s in self.sums]
        spreads = [sqrt(max(0, n * q - s * s)) / n for s, q in zip(self.sums, self.squares, strict=True)]
        fits = (d for d in DTYPES if np.iinfo(d).min <= self.low and self.high <= np.iinfo(d).max)
        return {"dtype": next(fits), "shape": self.shape, "low": self.low, "high": self.high,
                "mean": means if known else None, "std": spreads if known else None}  # fmt: skip


@dataclass
class ShardInfo:
    """The metadata `isthmus` of a shard; see docs/format-dataset.md."""

    shard: int
    codec: str
    settings: str
    source: str
    count: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0
    planes: dict[str, PlaneSums] = field(default_factory=dict)

    def pack(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def unpack(cls, data: str | bytes, name: str) -> "ShardInfo":
        """Raises CorruptStreamError, which names the shard."""
        try:
            found = dict(json.loads(data))
            version = found.pop("version")
            if version != VERSION:
                raise ValueError(f"version {version}, this isthmus reads {VERSION}")
            planes = {str(k): PlaneSums(**v).checked() for k, v in found.pop("planes").items()}
            lost = [(str(key), str(why)) for key, why in found.pop("lost")]
            info = cls(**found, planes=planes, lost=lost)
            for value, kind in ((info.shard, int), (info.codec, str), (info.settings, str), (info.source, str),
                                (info.count, int), (info.bytes_in, int), (info.bytes_out, int)):  # fmt: skip
                if type(value) is not kind:
                    raise TypeError(f"{value!r} where {kind.__name__} should be")
            return info
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CorruptStreamError(
                f"{name}: what it says of itself cannot be read ({error}): make it again"
            ) from error
