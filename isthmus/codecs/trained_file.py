# SPDX-License-Identifier: Apache-2.0
"""What a codec was trained to, as safetensors: tensors by name, and in the metadata entry `isthmus` what they are,

    {"family": "walloc", "config": {...}}

A file is untrusted input. Nothing in it is pickled; tensors are read when something asks for them, and checked by who
knows what they should be. Entropy tables may lie in a file of their own beside the networks, so that unpacking a stream
opens that alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from isthmus.devices import usual_settings
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.files import atomic_write

MAX_FILE = 1 << 30
Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Eight hexadecimal digits of the names, shapes and little-endian float32 values, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().float().contiguous().numpy().astype("<f4")
        digest.update(f"{name} {list(values.shape)}\n".encode() + values.tobytes())
    return digest.hexdigest()[:8]


class TrainedFile:
    """One trained file, or that and the file of its tables.

    weights_hash: what the index says of the networks, if it does; who reads them compares. Raises UnreadableFileError
    where there is no such file, CorruptStreamError where it is no trained codec.
    """

    def __init__(self, path: Path, weights_hash: str | None = None, tables: Path | None = None) -> None:
        path = path.absolute()  # it may be read again when the process works elsewhere
        self.path, self.weights_hash = path, weights_hash
        self._light = tables.absolute() if tables else path
        try:
            description: Any = json.loads(self._read(self._light, ())[0]["isthmus"])
            self.family, self.config = str(description["family"]), dict(description["config"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CorruptStreamError(f"{path}: not the weights of an isthmus codec: {error}") from error

    def tensors(self, *prefixes: str) -> dict[str, Tensor]:
        """Those whose names begin so, without that beginning; networks included."""
        return self._read(self.path, prefixes)[1]

    def light_tensors(self, *prefixes: str) -> dict[str, Tensor]:
        """As `tensors`, from the file of the tables where there is one."""
        return self._read(self._light, prefixes)[1]

    def integers(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Entropy tables whose names begin so. Raises CorruptStreamError if one is not of integers."""
        found = self.light_tensors(prefix)
        if any(v.dtype.is_floating_point or v.dtype.is_complex for v in found.values()):
            raise CorruptStreamError(f"{self.path}: entropy tables must be integers; fetch the file again")
        return {k: v.numpy() for k, v in found.items()}

    def floats(self, prefix: str, *, light: bool = False, half: bool = False) -> dict[str, Tensor]:
        """Parameters whose names begin so. half: some may be float16, which takes half the room; they become float32.

        Raises CorruptStreamError unless all are finite float32.
        """
        allowed = (torch.float32, torch.float16) if half else (torch.float32,)
        found = self.light_tensors(prefix) if light else self.tensors(prefix)
        if not all(v.dtype in allowed and v.isfinite().all() for v in found.values()):
            raise CorruptStreamError(f"{self.path}: the model's tensors must be finite float32; fetch the file again")
        return {k: v.float() for k, v in found.items()}

    def config_of(self, config: Callable[..., Config], check: Callable[[Mapping[str, Any]], None]) -> Config:
        """Its configuration, held to what `check` allows. Raises CorruptStreamError."""
        try:
            check(self.config)
        except (TypeError, ValueError) as error:
            raise CorruptStreamError(f"{self.path}: not the weights of an isthmus codec: {error}") from error
        return config(**self.config)

    def model(self, build: Callable[[], Model], *, half: bool = False) -> Model:
        """What `build` makes, with the tensors of the file. Raises CorruptStreamError where they do not fit."""
        with torch.device("meta"):  # memory is taken by the tensors of the file alone, not by what it claims
            model = build()
        try:
            model.load_state_dict(self.floats("model.", half=half), assign=True)
        except RuntimeError as error:
            raise CorruptStreamError(f"{self.path}: the tensors do not fit the configuration: {error}") from error
        return model.eval().requires_grad_(False)

    def promised(self, model: Model, weights_hash: str) -> Model:
        """`model`, which was read from here. Raises CorruptStreamError unless it is the one that was promised."""
        found = hash_tensors(model.state_dict())
        if found != weights_hash:
            raise CorruptStreamError(
                f"{self.path}: the networks in it are {found}, expected {weights_hash}: the file was "
                "replaced or damaged; load it again, or fetch it again"
            )
        return model

    def _read(self, path: Path, prefixes: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Tensor]]:
        if not path.is_file():
            raise UnreadableFileError(f"{path}: no such weights file")
        try:
            if path.stat().st_size > MAX_FILE:
                raise CorruptStreamError(f"{path}: {path.stat().st_size} bytes, a codec has at most {MAX_FILE}")
            with usual_settings(), safe_open(path, "pt") as file:
                found = {}
                for key in file.keys():  # noqa: SIM118 (not a dict)
                    prefix = next((p for p in prefixes if key.startswith(p)), None)
                    if prefix is not None:
                        # A copy: the file is mapped, and may be written over.
                        found[key.removeprefix(prefix)] = file.get_tensor(key).clone()
                return file.metadata() or {}, found
        except SafetensorError as error:
            raise CorruptStreamError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def save_trained(
    path: Path, family: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor | NDArray[Any]]
) -> None:
    """Writes a trained codec, all of it or nothing. Raises UnwritableFileError when the file cannot be written."""
    plain = {k: v if isinstance(v, Tensor) else torch.from_numpy(np.array(v)) for k, v in tensors.items()}
    description = json.dumps({"family": family, "config": dict(config)})
    atomic_write(path, save({k: v.detach().cpu().contiguous() for k, v in plain.items()}, {"isthmus": description}))


def write_tables(source: Path, target: Path, networks: tuple[str, ...]) -> None:
    """Writes the file of the tables of a trained file: all but the tensors whose names begin as `networks`."""
    with safe_open(source, "pt") as file:
        kept = {k: file.get_tensor(k) for k in file.keys() if not k.startswith(networks)}  # noqa: SIM118
        atomic_write(target, save(kept, file.metadata()))
