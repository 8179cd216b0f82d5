# SPDX-License-Identifier: Apache-2.0
"""What happens before and after a block of a model runs. Copies of such a module have ordinary weights and no need."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from isthmus.weights.attached.decoding.group import Group
from isthmus.weights.attached.tensors.untraced import untraced


class Runs(Protocol):
    """What is told of blocks that begin and end."""

    def enter(self, block: nn.Module, groups: list[Group], later: list[Group]) -> None: ...

    def leave(self, block: nn.Module) -> None: ...


def nothing(*_: Any) -> None:
    """The hook that a copied module has."""


class _Hook:
    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return nothing

    def __reduce__(self) -> Any:
        return getattr, (nothing, "__call__")


class Before(_Hook):
    """Has the weights of a block decoded."""

    def __init__(self, runs: Runs, block: nn.Module, groups: list[Group], later: list[Group]) -> None:
        self._runs, self._block, self._groups, self._later = runs, block, groups, later

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():  # compiled graphs decode by themselves
            refuse_export()
            return
        if torch._C._is_tracing():
            raise RuntimeError(f"torch.jit.trace: {_REFUSED}")
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


_REFUSED = "attached weights cannot be part of an exported graph; detach() the model first"


def refuse_export() -> None:
    """RuntimeError while torch.export runs."""
    is_exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.7
    if is_exporting is not None and is_exporting():
        raise RuntimeError(f"torch.export: {_REFUSED}")
