# SPDX-License-Identifier: Apache-2.0
"""Makes transformers know compressed folders as soon as somebody imports it, and not before."""

import importlib.abc
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LOADER = "transformers.modeling_utils"  # the module that loads checkpoints
WORKER = "isthmus.weights.huggingface.quantizer"


def register() -> None:
    """Registers with transformers now if its loader is there, else when that is imported. Calling it again is fine."""
    if LOADER in sys.modules and not _is_loading(sys.modules[LOADER]):
        _connect()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _connect() -> None:
    importlib.import_module(WORKER)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the loader's module as others do, and has us connected once it is executed."""

    def __init__(self) -> None:
        self._within = threading.local()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != LOADER or getattr(self._within, "looking", False):
            return None
        self._within.looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._within.looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._done)
        return spec

    def _done(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        _connect()


class _Loader(importlib.abc.Loader):
    """Another loader, and something to do behind it."""

    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader, self._then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._then()

    def __getattr__(self, name: str) -> Any:  # inspect and others ask for sources
        return getattr(self._loader, name)
