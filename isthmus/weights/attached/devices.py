# SPDX-License-Identifier: Apache-2.0
"""Where the weights of each module go."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

Device = str | int | torch.device


class Devices:
    """Where each module's weights go: one device, one for names of modules each, or where they are."""

    def __init__(self, device: Device | Mapping[str, Device] | None) -> None:
        by_name = device if isinstance(device, Mapping) else {} if device is None else {"": device}
        if "disk" in by_name.values():
            raise ValueError("attach: a device of 'disk'; compressed weights stay in their file on the CPU: say 'cpu'")
        self._by_name = {name: torch.device(where) for name, where in by_name.items()}

    def check(self, model: nn.Module) -> None:
        """Raises ValueError for a name that the model does not have, and for "disk"."""
        known = {name for name, _ in model.named_modules(remove_duplicate=False)}
        known |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
        known |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
        wrong = [name for name in self._by_name if name not in known]
        if wrong:
            near = get_close_matches(wrong[0], known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"attach: device names {wrong[0]!r}, which the model does not have{hint}")

    def of(self, name: str, tensor: Tensor) -> torch.device:
        """The device of a tensor of the model by its full name."""
        fitting = [prefix for prefix in self._by_name if not prefix or f"{name}.".startswith(f"{prefix}.")]
        if fitting:
            return self._by_name[max(fitting, key=len)]
        return tensor.device if tensor.device.type != "meta" else torch.device("cpu")

    def hook(self, model: nn.Module) -> list[Any]:
        """Where there are several devices: moves the inputs of each named module to its own. Returns the hooks."""
        if len(set(self._by_name.values())) < 2:
            return []
        modules = dict(model.named_modules())

        def mover(device: torch.device) -> Any:
            def move(_: nn.Module, args: Any, kwargs: Any) -> Any:
                return _moved(args, device), _moved(kwargs, device)

            return move

        return [
            modules[name].register_forward_pre_hook(mover(device), prepend=True, with_kwargs=True)
            for name, device in self._by_name.items()
            if name in modules
        ]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (list, tuple):
        return type(value)(_moved(part, device) for part in value)
    if type(value) is dict:
        return {key: _moved(part, device) for key, part in value.items()}
    return value
