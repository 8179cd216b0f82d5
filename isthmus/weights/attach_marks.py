# SPDX-License-Identifier: Apache-2.0
"""Points on a device's streams that work on other streams has to wait for."""

import torch

from isthmus.kernels.cuda.driver import current_stream


class Marks:
    """The last point of each stream that matters; on devices without CUDA streams nothing has to wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: dict[int, tuple[torch.cuda.Stream, torch.cuda.Event]] = {}  # by the stream's handle

    def add(self) -> bool:
        """Marks what the current stream has been told so far; whether it had no mark before."""
        if self._device.type != "cuda":
            return False
        handle = current_stream(self._device)
        if handle in self._events:
            stream, event = self._events[handle]
            event.record(stream)
            return False
        stream = torch.cuda.current_stream(self._device)
        self._events[handle] = stream, stream.record_event()
        return True

    def wait(self) -> None:
        """What the current stream is told from now on comes behind all marks."""
        if self._events:
            current = current_stream(self._device)
            for handle, (_, event) in list(self._events.items()):
                if handle != current:
                    torch.cuda.current_stream(self._device).wait_event(event)
