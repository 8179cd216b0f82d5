# SPDX-License-Identifier: Apache-2.0
"""What a size in a config becomes, by the name of its attribute: one width for every part of a model, few layers."""

import re
from typing import Any

WIDTH, INNER, HEADS, GROUPS, HEAD = 256, 512, 4, 2, 64  # 256 columns: matrices of 128 KB, which stay compressed
LAYERS, EXPERTS, CHOSEN, VOCABULARY, POSITIONS, IMAGE = 2, 4, 2, 1024, 512, 64

EXACT = {
    "head_dim": HEAD, "attention_head_dim": HEAD, "d_kv": HEAD, "kv_channels": HEAD, "global_head_dim": HEAD,
    "qk_nope_head_dim": HEAD, "qk_rope_head_dim": 32, "v_head_dim": HEAD, "qk_head_dim": HEAD + 32,
    "swa_head_dim": HEAD, "swa_v_head_dim": HEAD, "swa_qk_rope_head_dim": 32, "swa_qk_nope_head_dim": HEAD,
    "linear_head_dim": HEAD, "linear_key_head_dim": HEAD, "linear_value_head_dim": HEAD, "index_head_dim": HEAD,
    "cross_head_dim": HEAD, "dim_head": HEAD, "rotary_dim": 32, "attention_head_size": HEAD,
    "linear_num_key_heads": 2, "linear_num_value_heads": HEADS, "linear_num_heads": HEADS,
    "index_n_heads": HEADS, "index_topk": 8, "n_group": 1, "topk_group": 1, "num_expert_group": 1,
    "kv_lora_rank": 128, "q_lora_rank": 128, "o_lora_rank": 64, "hc_mult": 2,
    "first_k_dense_replace": 1, "num_dense_layers": 1, "moe_layer_start_index": 1, "moe_layer_end_index": -1,
    "max_source_positions": 64, "num_queries": 16, "patch_size": None, "out_hidden_size": WIDTH,
    "query_pre_attn_scalar": HEAD, "pretraining_tp": 1, "num_nextn_predict_layers": 0,
    "max_2d_position_embeddings": None, "mamba_n_heads": 8, "mamba_d_head": HEAD, "mamba_d_ssm": 2 * WIDTH,
    "mamba_num_heads": 8, "mamba_head_dim": HEAD, "time_step_rank": 16, "mamba_dt_rank": 16,
    "output_hidden_size": WIDTH, "two_stage_num_proposals": 16, "num_denoising": 0,
    "upsample_groups": WIDTH, "max_length": None, "mm_tokens_per_image": 4,
}  # fmt: skip
MISSING = {"vocab_size": VOCABULARY, "num_experts_per_tok": CHOSEN, "n_routed_experts": EXPERTS}  # None by default
KEPT = re.compile(
    r"feature_layer|conditional_layer|iou_head_depth|(max|min)_depth|window_layers|feat_extract_layers|conv_layers"
    r"|num_channels|in_channels|in_chans|audio_channels|mel_bins|feature_size|window_size|position_buckets|num_buckets"
    r"|image_seq|sample|vision_output|n_fft|hop_length|adapter_layers|num_embeddings_per|subsampling|token_type"
)
PATTERNS: tuple[tuple[str, int], ...] = (
    (r"(^|_)(layers?|depth|n_layers?|num_blocks)$", LAYERS),
    (r"(key_value|kv)(_attention)?_heads$", GROUPS),
    (r"(^|_)(heads|n_head)$", HEADS),
    (r"experts_per_tok(en)?$|moe_topk$|moe_top_k$|moe_k$|experts_top_k$|(^|_)top_k_experts$", CHOSEN),
    (r"shared_experts?$", 1),
    (r"(^|_)(experts|moe_num_experts)$", EXPERTS),
    (r"(intermediate|ffn|mlp|inner|feed_?forward|ff|dff)(_hidden)?_?(dim|size|channels)?$", INNER),
    (r"^n_inner$|linear_units$", INNER),
    (r"^(dim_ff|d_ff|dim_feedforward|encoder_dim_feedforward|decoder_dim_feedforward)$", INNER),
    (r"vocab(ulary)?_size$|^vocab_size_per_layer_input$", VOCABULARY),
    (r"codebook_size$", VOCABULARY),
    (r"(max_.*positions?|position_embeddings|n_positions|max_position_embeddings|n_ctx|context_length)$", POSITIONS),
    (r"(image|input|img|crop)_size$", IMAGE),
    (r"(^|_)(hidden_size|hidden_dim|d_model|n_embd|embed_dim|embed_size|embedding_size|dim|width|emb_dim|size"
     r"|channels?|embedding_dim|model_dim|input_size|output_size)$", WIDTH),
)  # fmt: skip
ALWAYS = re.compile(r"^(hidden_size|d_model|n_embd|embed_dim|num_attention_heads)$|heads$|n_head$")


def shrunk(name: str, value: int) -> int:
    """The smaller size; `value` where there is nothing to shrink."""
    if name in EXACT:
        fixed = EXACT[name]
        return value if fixed is None or value <= 0 else fixed
    if KEPT.search(name):
        return value
    for pattern, size in PATTERNS:
        if re.search(pattern, name):
            return size if value > size or (value > 0 and ALWAYS.search(name)) else value
    return value


def of_text(name: str) -> bool:
    """Whether a size is that of a vocabulary or an image, which does not depend on widths."""
    return re.search(r"vocab|(image|img)_size$|position|token", name) is not None


def is_token(name: str, value: Any) -> bool:
    """Whether an attribute numbers a token of the vocabulary."""
    number = isinstance(value, int) and not isinstance(value, bool) and value > 3
    return number and re.search(r"token_(id|index)$|^(bos|eos|pad|start|end)_id$", name) is not None
