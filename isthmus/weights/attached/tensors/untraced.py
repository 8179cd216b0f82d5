# SPDX-License-Identifier: Apache-2.0
"""Functions that torch.compile and torch.func must not look into, where their callers are Python that they follow."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """As `torch.compiler.disable`, which would load torch's compiler: there is none to hide from before that.

    While torch.func transforms what calls it, the function's own tensors are ordinary ones all the same.
    """
    hidden: list[Any] = []

    def apart(*args: Any) -> Any:
        if torch._C._functorch.peek_interpreter_stack() is None:
            return function(*args)
        with _transforms_of_torch().temporarily_clear_interpreter_stack():
            return function(*args)

    @wraps(function)
    def call(*args: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return apart(*args)
        if not hidden:
            hidden.append(sys.modules["torch._dynamo"].disable(apart))
        return hidden[0](*args)

    return call  # type: ignore[return-value]


def _transforms_of_torch() -> Any:
    from torch._functorch import pyfunctorch  # loaded already, by the transform that runs

    return pyfunctorch
