# SPDX-License-Identifier: Apache-2.0
"""A config of any type made small: each size by its name, lists of layers cut so that every kind of layer stays."""

from dataclasses import dataclass, field, fields
from typing import Any

from transformers import PreTrainedConfig

from . import sizes

LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth", "decoder_layers", "encoder_layers")
FIRST_TOKEN = 900  # special tokens have the numbers from here on
UNTOUCHED = {f.name for f in fields(PreTrainedConfig)} - {"bos_token_id", "eos_token_id", "pad_token_id"}
Changes = dict[str, Any]


@dataclass
class Shrinking:
    """What one config and its parts share: the new number of each special token."""

    overrides: Changes = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)

    def config(self, config: PreTrainedConfig, path: str = "") -> PreTrainedConfig:
        """A small one of the same class. overrides: values by dotted path, such as `text_config.head_dim`."""
        found: Changes = {}
        kept, layers = _kept_layers(config)
        staged = _staged(config)
        for spec in fields(config):
            name = spec.name
            value = _get(config, name)
            if name in UNTOUCHED or name.startswith("_") or not spec.init or name == "stage_names":
                continue
            if staged and name == "window_size" and isinstance(value, int):
                found[name] = min(value, 2)  # of the few patches of a small image
            elif staged and isinstance(value, int) and not sizes.of_text(name):
                found[name] = value
            else:
                found[name] = self._value(name, value, kept, layers, f"{path}{name}")
        for name in LAYERS:
            if kept and isinstance(found.get(name), int) and _get(config, name) == layers:
                found[name] = len(kept)
        for dotted, value in self.overrides.items():
            before, _, name = dotted.rpartition(".")
            if before == path.rstrip("."):
                found[name] = value
        _equal_heads(config, found)
        _whole_patches(found)
        _stages_of_backbone(config, found)
        return type(config)(**found)

    def _value(self, name: str, value: Any, kept: list[int], layers: int, path: str) -> Any:
        if isinstance(value, PreTrainedConfig):
            return self.config(value, f"{path}.")
        if value is None and name in sizes.MISSING:
            return sizes.MISSING[name]
        if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
            return value
        if sizes.is_token(name, value):
            return self._token(value)
        if isinstance(value, int):
            return sizes.shrunk(name, value)
        if isinstance(value, (list, tuple)):
            return self._sequence(name, value, kept, layers)
        if isinstance(value, dict):
            return _rope(value)
        return value

    def _sequence(self, name: str, value: Any, kept: list[int], layers: int) -> Any:
        if len(value) == layers and layers > 2:
            return type(value)([value[number] for number in kept])
        if name == "depths" or name.endswith("_depths"):
            return type(value)([min(one, 1) if isinstance(one, int) else one for one in value])
        if name == "image_size" and all(isinstance(one, int) for one in value):
            return type(value)([min(one, sizes.IMAGE) for one in value])
        if name.endswith(("token_id", "token_ids")):
            return type(value)([self._token(one) if isinstance(one, int) and one > 3 else one for one in value])
        return value

    def _token(self, value: int) -> int:
        return self.tokens.setdefault(value, FIRST_TOKEN + len(self.tokens))


def _get(config: PreTrainedConfig, name: str) -> Any:
    """An attribute by any of its names; None where there is none. Some configs refuse those that layers differ in."""
    try:
        return getattr(config, name, None)
    except Exception:
        return vars(config).get(name)


STAGED = (
    "depths",
    "num_heads",
    "num_attention_heads",
    "hidden_sizes",
    "embed_dims",
    "layer_depths",
    "blocks_per_stage",
)


def _staged(config: PreTrainedConfig) -> bool:
    """Whether widths belong to stages, each with its own, which have to go on fitting together."""
    return any(isinstance(getattr(config, name, None), (list, tuple)) for name in STAGED)


def _whole_patches(found: Changes) -> None:
    """An image is a whole number of patches."""
    size, patch = found.get("image_size"), found.get("patch_size")
    if isinstance(size, int) and isinstance(patch, int):
        found["image_size"] = max(1, size // patch) * patch


def _stages_of_backbone(config: PreTrainedConfig, found: Changes) -> None:
    """A backbone whose output is taken after several layers keeps as many layers, and one of stages all of them."""
    taken = getattr(config, "out_indices", None)
    name = next((name for name in LAYERS if isinstance(found.get(name), int)), None)
    if not hasattr(config, "out_features") or not isinstance(taken, (list, tuple)):
        return
    if name is None or _staged(config):
        found["out_indices"] = list(taken)
        return
    if max(taken) > found[name]:
        found[name] = max(sizes.LAYERS, len(taken))
        for other, value in found.items():
            if isinstance(value, list) and len(value) == sizes.LAYERS:
                found[other] = [value[-1]] * found[name]
    found.pop("out_features", None)
    found["out_indices"] = list(range(found[name] - len(taken) + 1, found[name] + 1))


def _kept_layers(config: PreTrainedConfig) -> tuple[list[int], int]:
    """Numbers of the layers that stay, and how many there were: the first of every kind, at least two."""
    if _staged(config):
        return [], 0
    for name in LAYERS:
        layers = _get(config, name)
        if isinstance(layers, int) and not isinstance(layers, bool):
            break
    else:
        return [], 0
    if layers <= sizes.LAYERS:
        return list(range(layers)), layers
    lists = [
        value
        for spec in fields(config)
        if isinstance(value := _get(config, spec.name), (list, tuple))
        and len(value) == layers
        and all(isinstance(one, str) for one in value)
    ]
    kept: dict[Any, int] = {}
    for number in range(layers):
        kept.setdefault(tuple(str(one[number]) for one in lists), number)
    numbers = sorted(kept.values())[:4]
    more = [number for number in range(layers) if number not in numbers]
    return sorted(numbers + more[: max(0, sizes.LAYERS - len(numbers))]), layers


def _equal_heads(config: PreTrainedConfig, found: Changes) -> None:
    """As many heads of keys as of queries where it was so."""
    for keys in ("num_key_value_heads", "num_kv_heads", "n_head_kv"):
        for queries in ("num_attention_heads", "n_head", "num_heads"):
            before = _get(config, keys), _get(config, queries)
            if None not in before and before[0] == before[1] and isinstance(found.get(queries), int):
                found[keys] = found[queries]


def _rope(value: Changes) -> Changes:
    """Rotary parameters: sections of the head's width sum to what they must."""
    found = {}
    for name, one in value.items():
        if isinstance(one, dict):
            found[name] = _rope(one)
        elif name == "mrope_section":
            half = sizes.HEAD // 2
            parts = [max(1, part * half // sum(one)) for part in one]
            parts[0] += half - sum(parts)
            found[name] = parts
        elif name in ("original_max_position_embeddings",):
            found[name] = min(one, 64)
        else:
            found[name] = one
    return found
