# SPDX-License-Identifier: Apache-2.0
"""What single types need beyond the rules of `sizes`: values by dotted path in their config."""

from typing import Any

HEADS_OF_128 = {"num_attention_heads": 2, "num_key_value_heads": 1}  # where sections of rotary angles are fixed
SERIES = {"prediction_length": 8, "context_length": 16}


def _in(part: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in values.items()}


HEADS_OF_64 = {"head_dim": 64}
FEATURES = {"vision_config.backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
TWO_KINDS = {"num_hidden_layers": 2}

OVERRIDES: dict[str, dict[str, Any]] = {
    "autoformer": SERIES,
    "bamba": {"attn_layer_indices": [1]},
    "blip-2": {"image_token_index": 999},
    "blt": {"encoder_hash_byte_group_vocab": 1000},
    "deit": {"architectures": ["DeiTForImageClassification"]},
    "esm": {"pad_token_id": 1, "mask_token_id": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], **TWO_KINDS},
    "hunyuan_v1_dense": HEADS_OF_64,
    "hunyuan_v1_moe": HEADS_OF_64,
    "hunyuan_vl": _in("text_config", HEADS_OF_64),
    "hunyuan_vl_text": HEADS_OF_64,
    "informer": SERIES,
    "instructblip": {"image_token_index": 999},
    "instructblipvideo": {"video_token_index": 999},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "layoutlmv3": {"coordinate_size": 48, "shape_size": 32},
    "levit": {"architectures": ["LevitForImageClassification"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], **TWO_KINDS},
    "lilt": {"hidden_size": 192},
    "mamba2": {"num_heads": 8},
    "ministral": HEADS_OF_64,
    "moonshine": {"encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 64},
    "perceiver": {"d_latents": 256, "num_latents": 16, "num_self_attends_per_block": 2},
    "qwen2_5_omni_thinker": _in("text_config", HEADS_OF_128),
    "qwen2_5_vl": _in("text_config", HEADS_OF_128),
    "qwen2_5_vl_text": HEADS_OF_128,
    "qwen2_vl": _in("text_config", HEADS_OF_128),
    "qwen2_vl_text": HEADS_OF_128,
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "sam2": FEATURES,
    "sam2_video": FEATURES,
    "time_series_transformer": SERIES,
    "llama4": {"vision_config.intermediate_size": 1024},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 512,
        "attention_head_dim": 128,
    },
    "chameleon": {"vocabulary_map": {"<image>": 900}},
    "efficientnet": {"hidden_dim": 2560},
    "align": {"vision_config.hidden_dim": 640, "projection_dim": 640},
    "pix2struct": {"vision_config.patch_embed_hidden_size": 768},
    "mistral4": {"qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "qk_head_dim": 64, "head_dim": 64},
    "longcat_flash": {
        "n_routed_experts": 4,
        "zero_expert_num": 2,
        "num_layers": 1,
        "num_hidden_layers": 2,
        "head_dim": 32,
    },
    "glm5_next_text": {"index_topk": 16},
    "glm5_next": {"text_config.index_topk": 16},
    "dory": {
        "n_input_layers": 1,
        "n_recurrent_layers": 1,
        "n_output_layers": 1,
        "num_hidden_layers": 3,
        "layer_types": ["full_attention"] * 3,
    },
    "molmo2": {"adapter_config.vision_feature_layer": [1, 0]},
    "encodec": {"hidden_size": 128},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4},
    "moonshine_streaming": {"num_key_value_heads": 4},
    "glm4v_moe_text": {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128},
    "glm4v_moe": {
        "text_config.num_attention_heads": 2,
        "text_config.num_key_value_heads": 1,
        "text_config.head_dim": 128,
    },
    "xmod": {"default_language": "en_XX"},
}
