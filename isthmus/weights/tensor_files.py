# SPDX-License-Identifier: Apache-2.0
"""One safetensors file opened for reading; its tensors are mapped, not copied."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from isthmus.errors import CorruptStreamError, UnreadableFileError

_open: Any = safe_open  # not typed


class TensorFile:
    """Names and tensors of a file. Raises UnreadableFileError where there is none, CorruptStreamError for damage."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = _open(str(path), framework="pt")
        except SafetensorError as error:
            raise CorruptStreamError(f"{path}: no safetensors file, or damaged: {error}; fetch it again") from None
        except OSError as error:
            raise UnreadableFileError(f"{path}: {error.strerror or error}") from None
        self.names: list[str] = list(self._file.keys())
        self.metadata: dict[str, str] = dict(self._file.metadata() or {})

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor of the file, not to be written to. Raises CorruptStreamError naming it where it cannot be read."""
        try:
            tensor: torch.Tensor = self._file.get_tensor(name)
        except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
            raise CorruptStreamError(f"{self.path}: tensor {name}: {error}") from None
        return tensor
