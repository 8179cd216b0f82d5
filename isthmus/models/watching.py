# SPDX-License-Identifier: Apache-2.0
"""What modules of a network give while it runs, by their paths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from isthmus.models.cut import check_path


@contextmanager
def watched(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The last outputs of modules, by path, of what the model computes within. Raises ValueError for other paths."""
    found: dict[str, Tensor] = {}
    hooks = []
    try:
        for path in paths:
            check_path(model, path)

            def keep(_: nn.Module, __: Any, output: Tensor, path: str = path) -> None:
                found[path] = output

            hooks.append(model.get_submodule(path).register_forward_hook(keep))
        yield found
    finally:
        for hook in hooks:
            hook.remove()
