# SPDX-License-Identifier: Apache-2.0
"""Points on a device's streams that work on other streams has to wait for."""

import torch


class Marks:
    """The last point of each stream that matters; on devices without CUDA streams nothing has to wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: dict[torch.cuda.Stream, torch.cuda.Event] = {}

    def add(self) -> None:
        """Marks what the current stream has been told so far."""
        if self._device.type == "cuda":
            stream = torch.cuda.current_stream(self._device)
            self._events[stream] = stream.record_event()

    def wait(self) -> None:
        """What the current stream is told from now on comes behind all marks."""
        if self._events:
            current = torch.cuda.current_stream(self._device)
            for stream, event in self._events.items():
                if stream != current:
                    current.wait_event(event)
