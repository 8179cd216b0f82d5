# SPDX-License-Identifier: Apache-2.0
"""`python device.py FOLDER PIXELS.npy QUALITY STREAM.ist`: a device, with onnxruntime and numpy alone."""

import sys

import numpy as np
import onnxruntime


def main(folder: str, pixels: str, quality: int, stream: str) -> None:
    """Pixels uint8 [H, W, 3] to a stream."""
    sys.path.insert(0, folder)
    from packer import Packer  # type: ignore[import-not-found]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    head = onnxruntime.InferenceSession(f"{folder}/head.onnx", options)
    picture = np.load(pixels)
    given = {"pixels": picture.transpose(2, 0, 1)[None], "quality": np.array(quality)}
    symbols = head.run(["symbols"], given)[0][0]
    with open(stream, "wb") as file:
        file.write(Packer(folder).pack(symbols, *picture.shape[:2], quality))
    assert not {"torch", "isthmus"} & set(sys.modules)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
