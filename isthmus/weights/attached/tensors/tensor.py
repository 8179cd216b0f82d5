# SPDX-License-Identifier: Apache-2.0
"""Tensors that are compressed: they know shape and dtype, and are decoded when something reads them; never written."""

import secrets
import sys
import weakref
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from isthmus.weights.attached.tensors.footprint import Footprint
from isthmus.weights.attached.tensors.nodes import (
    NODES,
    Node,
    Plain,
    Slot,
    evaluate,
    is_view_of_one,
    leaves,
    node_of,
)
from isthmus.weights.attached.tensors.operations import operate, traced
from isthmus.weights.attached.tensors.reading import decoded
from isthmus.weights.attached.tensors.writes import refuse_write

_DECODED: "weakref.WeakValueDictionary[int, Tensor]" = weakref.WeakValueDictionary()
OWN = ("node", "loading", "label", "_handle", "_decoded", "_is_param")  # attributes that only such tensors have
_THIS_RUN = secrets.token_hex(16)


class Loading:
    """A model that loads: operations on its tensors are put off until `done`."""

    def __init__(self) -> None:
        self.done = False


class CompressedTensor(Tensor):
    """A tensor of any shape and dtype without memory of its own.

    Operations on it decode it (where it is a weight of a block that runs, it is decoded already) and return ordinary
    tensors; views of it and copies to another device or dtype are such tensors again. Autograd keeps it as it is for
    the backward pass. Whatever would write to it raises RuntimeError. Copied with `copy` or saved with pickle it is an
    ordinary tensor or parameter.

    node: what it stands for. loading: what it is loaded for; while that lasts operations on it are put off too.
    label: name of the parameter, for errors.
    """

    node: Node
    loading: Loading | None
    label: str
    _handle: Tensor | None = None
    _decoded: Tensor | None = None

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(
        cls,
        node: Node | Tensor,
        device: torch.device | None = None,
        *,
        loading: Loading | None = None,
        label: str = "",
        requires_grad: bool = False,
    ) -> Any:
        if isinstance(node, Tensor):  # as accelerate calls the type of any parameter
            return nn.Parameter(node, requires_grad)
        meta, device = node.meta, device or torch.device("cpu")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())  # as ordinary tensors say
        made: Any = Tensor._make_wrapper_subclass(
            cls, meta.shape, strides=meta.stride(), dtype=meta.dtype, device=device, requires_grad=requires_grad
        )  # type: ignore[assignment]
        made.node, made.loading, made.label = node, loading, label
        torch._C._set_throw_on_mutable_data_ptr(made)  # those who ask in C++ get an error, no null
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return operate(CompressedTensor, func, args, kwargs or {})

    def like(self, node: Node, device: torch.device | None = None) -> "CompressedTensor":
        """Another such tensor for `node`."""
        device = device or self.device
        if torch.is_inference_mode_enabled() == self.is_inference():
            made = CompressedTensor(node, device, loading=self.loading, label=self.label)
        else:
            with torch.inference_mode(self.is_inference()):  # as views are, whatever the mode is now
                made = CompressedTensor(node, device, loading=self.loading, label=self.label)
        if self.is_traced:
            made._handle = self.handle
        return made

    def decode(self) -> Tensor:
        """An ordinary tensor with the same weights, in memory of its own. Raises CorruptStreamError for damage."""
        return traced(self) if self.is_traced else decoded(self.node, self.device)

    @property
    def pending(self) -> bool:
        """Whether operations on it are put off."""
        return self.loading is not None and not self.loading.done

    @property
    def is_traced(self) -> bool:
        """Whether it stands in a graph that is being compiled."""
        return self._handle is not None and type(self._handle) is not Tensor

    @property
    def handle(self) -> Tensor:
        """int64 [1], by which a compiled graph knows the tensor."""
        found = self._handle
        if found is None:
            NODES[id(self.node)] = self.node
            with _disable_current_modes():  # a graph that is being compiled would make it one of its own
                found = self._handle = torch.tensor([id(self.node)], device="cpu")
        return found

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("huggingface_hub"):
            return ["footprint"], None  # who asks how much goes into a file
        return ["handle"], (self.node, self.device, self.loading, self.label, self.requires_grad)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: Any, size: Any, stride: Any) -> "CompressedTensor":
        node, device, loading, label, requires_grad = context
        made = CompressedTensor(node, device, loading=loading, label=label, requires_grad=requires_grad)
        made._handle = inner["handle"]
        return made

    @property
    def footprint(self) -> Footprint:
        """What stands for memory of its own where files are planned."""
        return Footprint(self.node, self.device)

    def _stable_hash_for_caching(self) -> str:
        """By which compiled graphs are kept from run to run; those with such tensors are of use in this one alone."""
        return f"{_THIS_RUN} {list(self.shape)} {self.dtype} {self.requires_grad}"

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        """The same weights without a gradient; it cannot be assigned to."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not self.pending or value.shape != self.shape or value.dtype != self.dtype:
            refuse_write(self)
        self.node = value.node if isinstance(value, CompressedTensor) else Slot(Plain(value))

    def numpy(self, *, force: bool = False) -> Any:
        """As of any tensor, but read-only."""
        plain = self.decode().requires_grad_(self.requires_grad)
        found = plain.numpy(force=force)
        found.flags.writeable = False
        return found

    def __dlpack__(self, **options: Any) -> Any:
        if not options.pop("copy", None):  # others may write to what they get
            raise RuntimeError(f"isthmus.weights: {self.label or 'a weight'} is compressed; give others its .clone()")
        return self.decode().__dlpack__(**options)

    def share_memory_(self) -> NoReturn:
        refuse_write(self)

    def is_shared(self) -> bool:
        return False

    def tolist(self) -> Any:
        return self.decode().tolist()

    def data_ptr(self) -> int:
        if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] == "accelerate":
            return id(self.node)  # it only compares them, to see which parameters are one
        return self._memory().data_ptr()

    def const_data_ptr(self) -> int:
        return self._memory().data_ptr()

    def untyped_storage(self) -> Any:
        asks = sys._getframe(1).f_globals.get("__name__", "")
        if self.is_traced or asks.startswith(("torch._subclasses", "torch._dynamo", "torch._functorch")):
            return super().untyped_storage()  # the compiler's, which does not look into it
        return self._memory().untyped_storage()

    def _memory(self) -> Tensor:
        """Decoded weights that last as long as this tensor, which a parameter's must not."""
        if isinstance(self, nn.Parameter):
            raise RuntimeError(
                f"isthmus.weights: {self.label or 'a parameter'} is compressed and has no memory of its own; read a "
                "copy (.clone()), or detach() the model"
            )
        if self._decoded is None:
            below = next(leaves(self.node)) if is_view_of_one(self.node) else self.node
            base = _DECODED.get(id(below))
            if base is None:  # one for all views of a node, so that they are seen to share it
                base = _DECODED[id(below)] = decoded(below, self.device)
            self._decoded = base if below is self.node else evaluate(self.node, lambda _: base, self.device)
        return self._decoded

    def ordinary(self) -> nn.Parameter:
        """An ordinary parameter in the place of this one, with its gradient, hooks and attributes."""
        plain: nn.Parameter = self._ordinary()  # type: ignore[assignment]
        plain.__dict__.update({key: value for key, value in self.__dict__.items() if key not in OWN})
        plain.grad = self.grad
        for hook in (self._backward_hooks or {}).values():
            plain.register_hook(hook)  # type: ignore[no-untyped-call]
        for hook in (self._post_accumulate_grad_hooks or {}).values():
            plain.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        return plain

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        found: Tensor = self._ordinary()
        memo[id(self)] = found
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._ordinary().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def _ordinary(self) -> Tensor:
        plain = self.decode()
        return nn.Parameter(plain, self.requires_grad) if isinstance(self, nn.Parameter) else plain

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"CompressedTensor({list(self.shape)}, dtype={self.dtype}, device={str(self.device)!r})"


@torch.library.custom_op("isthmus::decode", mutates_args=())
def _decode(handle: Tensor, size: list[int], stride: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """What compiled graphs decode a tensor by. Raises CorruptStreamError for damage."""
    return decoded(node_of(int(handle)), device)


@_decode.register_fake
def _(handle: Tensor, size: list[int], stride: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty_strided(size, stride, dtype=dtype, device=device)
