# SPDX-License-Identifier: Apache-2.0
"""Which of its arguments an operation writes to: by its schema, and by name where a schema does not say so."""

from collections.abc import Iterator
from typing import Any, NoReturn

from isthmus.weights.attached.tensors.nodes import aten

# Kept for old models without a mark: they update running statistics while `training`, the fifth of their arguments.
UPDATES_STATISTICS = {
    getattr(aten, name).default
    for name in ("batch_norm", "_batch_norm_impl_index", "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")
    if hasattr(aten, name)
}
STATISTICS, TRAINING = ((3, "running_mean"), (4, "running_var")), 5

_WRITTEN: dict[Any, list[tuple[int, str]]] = {}


def written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """The arguments that an operation writes to."""
    if func in UPDATES_STATISTICS:
        places = list(STATISTICS) if len(args) > TRAINING and args[TRAINING] else []
    else:
        places = _places(func)
    for number, name in places:
        value = args[number] if number < len(args) else kwargs.get(name)
        yield from _flat(value)


def _places(func: Any) -> list[tuple[int, str]]:
    places = _WRITTEN.get(func)
    if places is None:
        listed = list(enumerate(func._schema.arguments))
        places = [(number, a.name) for number, a in listed if a.alias_info is not None and a.alias_info.is_write]
        if func.namespace == "c10d" and func._opname.endswith("_"):  # collectives: what they fill comes first
            places = [(0, listed[0][1].name)]
        _WRITTEN[func] = places
    return places


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def is_foreign(func: Any) -> bool:
    """Whether torch does not know what an operation does with its arguments, or for how long it reads them."""
    return func.namespace not in ("aten", "prims", "isthmus")


def refuse_write(tensor: Any) -> NoReturn:
    """RuntimeError for whatever would change weights that are compressed."""
    raise RuntimeError(
        f"isthmus.weights: {tensor.label or 'a weight'} is compressed and cannot be written to (no adapter can be "
        "merged into it, no dtype changed); assign a new nn.Parameter to its module, or detach() the model first"
    )
