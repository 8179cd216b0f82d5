# SPDX-License-Identifier: Apache-2.0
"""Looking for a size in a config and its parts."""

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedConfig


def parts(config: PreTrainedConfig, first: str = "") -> Iterator[PreTrainedConfig]:
    """A config's parts, those whose name holds `first` before others, the whole after them."""
    inner = [(name, value) for name, value in vars(config).items() if isinstance(value, PreTrainedConfig)]
    for _, value in sorted(inner, key=lambda item: first not in item[0]):
        yield from parts(value, first)
    yield config


def find(config: PreTrainedConfig, names: tuple[str, ...], default: Any, kind: str) -> Any:
    """The first attribute of these names that has a value: in the whole, then in its parts, those of `kind` first."""
    for part in (config, *parts(config, kind)):
        for name in names:
            value = getattr(part, name, None)
            if value is not None and not isinstance(value, bool):
                return value
    return default
