# SPDX-License-Identifier: Apache-2.0
"""Named tensors through zlib, in the shape of ours: what everyone has for lossless weights."""

import zlib
from typing import Any

from safetensors.torch import load, save


class Deflate:
    """The bytes of a safetensors file through DEFLATE at level 6."""

    name = "zlib"

    def encode(self, samples: Any, **options: Any) -> bytes:
        """Bytes of a dict of torch tensors."""
        return zlib.compress(save({name: tensor.contiguous() for name, tensor in samples.items()}))

    def decode(self, data: bytes, **options: Any) -> Any:
        """The tensors again."""
        return load(zlib.decompress(data))
