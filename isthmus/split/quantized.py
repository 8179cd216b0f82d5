# SPDX-License-Identifier: Apache-2.0
"""The baseline without training: features of a network where they are few, the largest of them, in a few bits.

As in training-free feature compression (SLICER, arXiv 2511.11608; rANS on sparse features, arXiv 2511.11664).
"""

import struct
import zlib

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.entropy.coders import histogram
from isthmus.errors import CorruptStreamError
from isthmus.models.cut import cut

HEAD = struct.Struct("<4sIIIff")  # channels, height, width, lowest value, step
MAGIC, MOST = b"ISQ1", 1 << 24


class QuantizedFeatures:
    """Features at a module to bytes: `keep`, the share of largest magnitudes, as integers of `bits` bits; others are 0.

    Its bytes are no stream of isthmus, and nothing else reads them. Raises ValueError as `cut`, and for other numbers.
    """

    def __init__(self, model: nn.Module, at: str, bits: int = 4, keep: float = 1.0) -> None:
        if not 1 <= bits <= 8 or not 0 < keep <= 1:
            raise ValueError(f"quantized features: {bits} bits, keep {keep}; expected 1 to 8 bits, a share above 0")
        self.front, self.tail = (half.eval() for half in cut(model, at))
        self.bits, self.keep = bits, keep

    def pack(self, feature: Tensor) -> bytes:
        """float [c, h, w] to bytes: an affine scale for all of it, rounded integers, `histogram.1`, a checksum."""
        x = feature.detach().float().cpu().numpy()
        if self.keep < 1:
            count = max(1, round(self.keep * x.size))
            least = np.partition(np.abs(x).reshape(-1), x.size - count)[x.size - count]
            x = np.where(np.abs(x) >= least, x, 0)
        low, high = float(x.min()), float(x.max())
        step = (high - low) / ((1 << self.bits) - 1) or 1.0
        # A level lies at 0, so that what is left out stays nothing.
        low = -np.rint(-low / step) * step
        values = np.clip(np.rint((x - low) / step), 0, (1 << self.bits) - 1).astype(np.int32)
        body = HEAD.pack(MAGIC, *x.shape, low, step) + histogram.encode(values)
        return body + zlib.crc32(body).to_bytes(4, "little")

    def unpack(self, data: bytes) -> Tensor:
        """Bytes to float32 [c, h, w]. Raises CorruptStreamError."""
        body, checksum = data[:-4], data[-4:]
        if len(body) < HEAD.size or body[:4] != MAGIC or zlib.crc32(body).to_bytes(4, "little") != checksum:
            raise CorruptStreamError("quantized features: no whole payload; send it again")
        _, channels, height, width, low, step = HEAD.unpack(body[: HEAD.size])
        count = channels * height * width
        if count > MOST:
            raise CorruptStreamError(f"quantized features: {channels}x{height}x{width} values, at most {MOST} are read")
        values = histogram.decode(body[HEAD.size :], count)
        return torch.from_numpy((values.astype(np.float32) * step + low).reshape(channels, height, width))


@torch.no_grad()
def narrowest(model: nn.Module, size: int = 224) -> str:
    """The path of the module behind which the fewest numbers go on, of those with a grid where `model` can be cut.

    Raises ValueError where there is none.
    """
    seen: dict[str, tuple[int, int]] = {}
    hooks = []
    for path, module in model.named_modules():

        def note(_: nn.Module, __: object, output: object, path: str = path) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] > 1:
                seen[path] = (output[0].numel(), -len(seen))

        if path:
            hooks.append(module.register_forward_hook(note))
    try:
        weight = next(model.parameters(), torch.zeros(()))
        model.eval()(torch.zeros(1, 3, size, size, device=weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    for path in sorted(seen, key=lambda path: seen[path]):
        try:
            cut(model, path)
        except ValueError:
            continue
        return path
    raise ValueError(f"{type(model).__name__} has no features on a grid where it can be cut")
