# SPDX-License-Identifier: Apache-2.0
"""What single types need beyond the rules of `sizes`: values by dotted path in their config."""

from typing import Any

HEADS_OF_128 = {"num_attention_heads": 2, "num_key_value_heads": 1}  # where sections of rotary angles are fixed
SERIES = {"prediction_length": 8, "context_length": 16}


def _in(part: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in values.items()}


OVERRIDES: dict[str, dict[str, Any]] = {
    "autoformer": SERIES,
    "bamba": {"attn_layer_indices": [1]},
    "informer": SERIES,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "layoutlmv3": {"coordinate_size": 48, "shape_size": 32},
    "lilt": {"hidden_size": 192},
    "qwen2_5_vl": _in("text_config", HEADS_OF_128),
    "qwen2_5_vl_text": HEADS_OF_128,
    "qwen2_vl": _in("text_config", HEADS_OF_128),
    "qwen2_vl_text": HEADS_OF_128,
    "time_series_transformer": SERIES,
}
