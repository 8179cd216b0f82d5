# SPDX-License-Identifier: Apache-2.0
"""Points on a device's streams that work on other streams has to wait for."""

import torch

from isthmus.kernels.cuda.driver import current_stream


class Marks:
    """Streams of a device whose work matters, at least up to the last mark of each; without CUDA nothing has to wait.

    While a CUDA graph is captured there are no marks: what was told before is done by then, and the graph's own work
    runs in its order.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams: dict[int, torch.cuda.Stream] = {}  # by handle

    def add(self) -> bool:
        """Marks what the current stream has been told so far; whether it had no mark before."""
        if self._device.type != "cuda" or torch.cuda.is_current_stream_capturing():
            return False
        handle = current_stream(self._device)
        if handle in self._streams:
            return False
        self._streams[handle] = torch.cuda.current_stream(self._device)
        return True

    def wait(self) -> None:
        """What the current stream is told from now on comes behind all marks, and whatever those streams have now."""
        if not self._streams or torch.cuda.is_current_stream_capturing():
            return
        current = current_stream(self._device)
        for handle, stream in list(self._streams.items()):
            if handle != current:
                torch.cuda.current_stream(self._device).wait_stream(stream)
