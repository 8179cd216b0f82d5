# SPDX-License-Identifier: Apache-2.0
"""Functions that torch.compile must not look into, where their callers are Python that it does look into."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """As `torch.compiler.disable`, which would load torch's compiler: there is none to hide from before that."""
    hidden: list[Any] = []

    @wraps(function)
    def call(*args: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args)
        if not hidden:
            hidden.append(sys.modules["torch._dynamo"].disable(function))
        return hidden[0](*args)

    return call  # type: ignore[return-value]
