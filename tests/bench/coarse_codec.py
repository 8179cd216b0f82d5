# SPDX-License-Identifier: Apache-2.0
"""A codec in the shape of ours, for the bench to run: zlib over quantized samples."""

import zlib

import numpy as np


class CoarseCodec:
    name = "coarse"
    qualities = (10, 50, 90)

    def encode(self, image, *, quality):
        step = max(1, (101 - quality) // 2)
        shape = np.array([*image.shape, step], np.int32).tobytes()
        return shape + zlib.compress(np.round(image / step).astype(np.uint8).tobytes())

    def decode(self, data, *, output="torch"):
        assert output == "numpy"
        *shape, step = np.frombuffer(data[:16], np.int32)
        levels = np.frombuffer(zlib.decompress(data[16:]), np.uint8).reshape(shape)
        return np.clip(levels.astype(np.int32) * step, 0, 255).astype(np.uint8)
