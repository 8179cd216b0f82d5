# SPDX-License-Identifier: Apache-2.0
"""Integer networks: from integers that are decoded already to the table indices of those that come next.

The arithmetic is that of docs/format-network.md. Trained by `isthmus.models.integer_network`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from isthmus.entropy.coders.arguments import as_integers
from isthmus.entropy.models.integer_layer import LIMIT, IntegerLayer
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError
from isthmus.lazy import cached_property

MAX_LAYERS = 64


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers from the first to the last, and the tables that the last one's outputs are indices of.

    Raises ValueError that names the layer for layers that do not fit each other or whose sums could reach 2**24.
    """

    layers: Sequence[IntegerLayer]
    tables: TableFamily
    _checked: set[tuple[Any, ...]] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        self._validate()

    def _validate(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ValueError(f"integer network: {len(self.layers)} layers, expected 1..{MAX_LAYERS}")
        width = None
        for i, layer in enumerate(self.layers):
            layer.validate(f"layer {i}")
            if width is not None and layer.inputs != width:
                raise ValueError(f"integer network: layer {i} takes {layer.inputs} channels, but gets {width}")
            width = layer.outputs

    def __call__(self, x: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Table indices, int16 [B, outputs, H, W], for integers [B, inputs, H, W], which are clipped to -127..127.

        Runs on the device of x, in convolutions of `dtype` (float32 or float64). When a shape comes for the first time,
        or a setting of torch's that chooses kernels has changed, 48 places of each layer are compared with integers.

        Raises TypeError for other dtypes, ValueError for other shapes, RuntimeError where the convolutions of this
        device are not exact, which names the layer.
        """
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise TypeError(f"integer network: input is {x.dtype}, expected integers")
        if x.ndim != 4 or x.shape[1] != self.layers[0].inputs:
            raise ValueError(f"integer network: input {tuple(x.shape)}, expected [B, {self.layers[0].inputs}, H, W]")
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"integer network: dtype {dtype}, expected torch.float32 or torch.float64")
        if x.numel() == 0:
            shape = (x.shape[0], self.layers[-1].outputs, *x.shape[2:])
            return torch.zeros(shape, dtype=torch.int16, device=x.device)
        with torch.no_grad():
            y = x.to(dtype).clamp(-LIMIT, LIMIT)  # in this order: uint8 has no -127
            self._check_once(y)
            for layer, high in zip(self.layers, self._highs(), strict=True):
                y = (layer.sums(y) * 2.0**-layer.shift).floor().clamp(0, high)
            return y.to(torch.int16)

    def reference(self, x: ArrayLike) -> NDArray[np.int16]:
        """What `__call__` gives, in int64 throughout: the definition, slow; x: integers [B, inputs, H, W]."""
        values = np.minimum(as_integers(x, "integer network: input"), LIMIT)
        y = np.maximum(values.astype(np.int64), -LIMIT)
        batch, _, height, width = y.shape
        item, row, column = (axis.reshape(-1) for axis in np.indices((batch, height, width)))
        for layer, high in zip(self.layers, self._highs(), strict=True):
            sums = layer.sums_at(y, (item, row, column)).reshape(batch, height, width, layer.outputs)
            y = np.clip(sums >> layer.shift, 0, high).transpose(0, 3, 1, 2)
        return y.astype(np.int16)

    def _highs(self) -> list[int]:
        return [LIMIT] * (len(self.layers) - 1) + [len(self.tables) - 1]

    def _check_once(self, x: Tensor) -> None:
        """Compares each layer's sums with integers, for one shape and layout under one choice of kernels."""
        key = (x.device, x.dtype, x.shape, x.stride(), _kernel_settings())
        if key in self._checked:
            return
        like = x
        for i, layer in enumerate(self.layers):
            like, exact = layer.probe(like)
            if not exact:
                raise RuntimeError(
                    f"integer network: layer {i}: {x.dtype} convolutions on {x.device} are not exact for input "
                    f"{tuple(x.shape)}, so indices would differ between machines; use dtype=torch.float64, or the CPU"
                )
        self._checked.add(key)

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the network and its tables (docs/format-network.md)."""
        digest = hashlib.sha256(bytes.fromhex(self.tables.hash))
        for layer in self.layers:
            sides = (layer.outputs, layer.inputs, layer.kernel, layer.shift, layer.groups)
            for values in (np.array(sides), layer.weight, layer.bias):
                digest.update(values.astype("<i4").tobytes())
        return digest.hexdigest()[:8]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Integer arrays that hold the network and its tables, for safetensors; checks the layers once more."""
        self._validate()
        arrays: dict[str, NDArray[Any]] = {f"tables.{k}": v for k, v in self.tables.to_arrays().items()}
        for i, layer in enumerate(self.layers):
            arrays[f"layers.{i}.weight"] = layer.weight
            arrays[f"layers.{i}.bias"] = layer.bias
            arrays[f"layers.{i}.shape"] = np.array([layer.shift, layer.groups], np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> "IntegerNetwork":
        """The inverse of `to_arrays`; raises CorruptStreamError for arrays that are no valid network."""
        tables = {k.removeprefix("tables."): v for k, v in arrays.items() if k.startswith("tables.")}
        count = -(-len([k for k in arrays if k.startswith("layers.")]) // 3)
        try:
            layers = []
            for i in range(min(count, MAX_LAYERS + 1)):
                weight, bias, shape = (np.array(arrays[f"layers.{i}.{k}"]) for k in ("weight", "bias", "shape"))
                if shape.dtype.kind not in "iu" or shape.shape != (2,):
                    raise ValueError(f"integer network: layer {i}: shape is {shape.dtype} {shape.shape}")
                layers.append(IntegerLayer(weight, bias, int(shape[0]), int(shape[1])))
            return cls(layers, TableFamily.from_arrays(tables))
        except KeyError as error:
            raise CorruptStreamError(f"weights file: integer network lacks {error}; fetch the file again") from error
        except ValueError as error:
            raise CorruptStreamError(f"weights file: {error}; fetch the file again") from error


def _kernel_settings() -> tuple[Any, ...]:
    """What torch chooses its kernels by, beside the input; torch has other names for precisions from 2.9 on."""
    matmul, conv = torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "conv", None)
    precisions = (getattr(matmul, "fp32_precision", None) or matmul.allow_tf32, getattr(conv, "fp32_precision", None))
    return (torch.get_num_threads(), torch.backends.mkldnn.enabled, *precisions)
