# SPDX-License-Identifier: Apache-2.0
"""What the rANS kernels report of a chunk, and the error that says so."""

import torch

from isthmus.errors import CorruptStreamError

OK, BAD_HEAD, BAD_WORDS, BAD_ESCAPES, LEFT_OVER, BAD_TABLE, BAD_BOUNDS, BAD_VALUE = range(8)  # as in rans/decode.cu
FAULTS = {
    BAD_HEAD: "the head does not fit its bytes",
    BAD_WORDS: "the words end early",
    BAD_ESCAPES: "the escapes end early or are invalid",
    LEFT_OVER: "bytes are left over or the states do not close",
}
MISTAKES = {
    BAD_TABLE: "a table index names no table",
    BAD_BOUNDS: "its bounds do not rise, lie outside the bytes, the symbols or the table indices, or are too far apart",
    BAD_VALUE: "an escape stands for an integer that the dtype of `out` does not hold",
}


def raise_faults(status: torch.Tensor, what: str) -> None:
    """Raises the error of the first chunk in uint8 `status` [chunks] that is not OK; waits for the kernel.

    That is CorruptStreamError for a damaged payload, ValueError for a table index or bounds that are wrong.
    """
    codes = status.cpu()
    bad = torch.nonzero(codes)
    if len(bad) == 0:
        return
    chunk = int(bad[0])
    code = int(codes[chunk])
    if code in MISTAKES:
        raise ValueError(f"{what}: chunk {chunk}: {MISTAKES[code]}")
    raise CorruptStreamError(f"{what}: chunk {chunk}: {FAULTS[code]}; the stream is damaged, fetch it again")
