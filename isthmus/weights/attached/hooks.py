# SPDX-License-Identifier: Apache-2.0
"""What happens before and after a block of a model runs. Copies of such a module have ordinary weights and no need."""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from isthmus.weights.attached.decoding.group import Group
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from isthmus.weights.attached.tensors.untraced import untraced
from isthmus.weights.attached.tensors.writes import refuse_write


class Runs(Protocol):
    """What is told of blocks that begin and end."""

    def enter(self, block: nn.Module, groups: list[Group], later: list[Group]) -> None: ...

    def leave(self, block: nn.Module) -> None: ...


def nothing(*_: Any) -> None:
    """The hook that a copied module has."""


class _Hook:
    @property
    def __name__(self) -> str:  # type: ignore[override]
        raise AttributeError(f"torch.jit.script: {_REFUSED}")  # which alone asks for it

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return nothing

    def __reduce__(self) -> Any:
        return getattr, (nothing, "__call__")


class Before(_Hook):
    """Has the weights of a block decoded."""

    def __init__(self, runs: Runs, block: nn.Module, groups: list[Group], later: list[Group]) -> None:
        self._runs, self._block, self._groups, self._later = runs, block, groups, later

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if torch.compiler.is_compiling():  # compiled graphs decode by themselves
            refuse_export()
            return
        if torch._C._is_tracing():
            raise RuntimeError(f"torch.jit.trace: {_REFUSED}")
        refuse_recording()
        self._enter()

    @untraced
    def _enter(self) -> None:
        self._runs.enter(self._block, self._groups, self._later)


class After(_Hook):
    """Lets others have the memory."""

    def __init__(self, runs: Runs, block: nn.Module) -> None:
        self._runs, self._block = runs, block

    def __call__(self, module: nn.Module, args: Any, result: Any) -> None:
        if not torch.compiler.is_compiling():
            self._leave()

    @untraced
    def _leave(self) -> None:
        self._runs.leave(self._block)


class BeforeLoading(_Hook):
    """Refuses a state dict for compressed weights before a part of it is copied."""

    def __call__(self, module: nn.Module, state: Any, prefix: str, metadata: Any, *_: Any) -> None:
        if metadata.get("assign_to_params_buffers"):
            return
        for name, param in module.named_parameters():
            if prefix + name in state and isinstance(param, CompressedTensor):
                refuse_write(param)


def hook_loading(model: nn.Module) -> list[Any]:
    """`BeforeLoading` on all modules of which a part is compressed; what removes them."""
    hook, parts = BeforeLoading(), []
    for module in model.modules():
        if any(isinstance(param, CompressedTensor) for param in module.parameters()):
            parts.append(module._register_load_state_dict_pre_hook(hook, with_module=True))  # type: ignore[no-untyped-call]
    return parts


_REFUSED = "attached weights cannot be part of an exported graph; detach() the model first"


def refuse_recording() -> None:
    """RuntimeError while `make_fx` runs, whose graph would keep decoded weights as constants."""
    recorder = sys.modules.get("torch.fx.experimental.proxy_tensor") if torch._C._len_torch_dispatch_stack() else None
    if recorder is not None and recorder.get_proxy_mode() is not None:
        raise RuntimeError(f"make_fx: {_REFUSED}")


def refuse_export() -> None:
    """RuntimeError while torch.export runs."""
    is_exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.7
    if is_exporting is not None and is_exporting():
        raise RuntimeError(f"torch.export: {_REFUSED}")
