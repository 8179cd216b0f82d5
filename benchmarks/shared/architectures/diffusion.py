# SPDX-License-Identifier: Apache-2.0
"""Small models of diffusers: their configs, and inputs by the names of `forward`."""

from typing import Any

import torch

from .building import Built, NotBuiltError, add_noise, reason

Shape = tuple[int, ...]
TIME = {"timestep": torch.tensor([10])}
TWO_BLOCKS = {"block_out_channels": (128, 256), "layers_per_block": 1, "norm_num_groups": 32}
DOWN = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
HEADS = {"num_attention_heads": 4, "attention_head_dim": 64}
TEXT: Shape = (1, 8, 256)

# Of each class: what makes it small, shapes of inputs of noise, and inputs as they are.
DIFFUSERS: dict[str, tuple[dict[str, Any], dict[str, Shape], dict[str, Any]]] = {
    "UNet2DModel": (
        {**TWO_BLOCKS, "sample_size": 16, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
         "up_block_types": ("AttnUpBlock2D", "UpBlock2D")},
        {"sample": (1, 3, 16, 16)}, TIME),
    "UNet2DConditionModel": (
        {**TWO_BLOCKS, **DOWN, "sample_size": 16, "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
         "cross_attention_dim": 256},
        {"sample": (1, 4, 16, 16), "encoder_hidden_states": TEXT}, TIME),
    "ControlNetModel": (
        {**TWO_BLOCKS, **DOWN, "cross_attention_dim": 256, "conditioning_embedding_out_channels": (16, 32)},
        {"sample": (1, 4, 16, 16), "encoder_hidden_states": TEXT, "controlnet_cond": (1, 3, 32, 32)}, TIME),
    "AutoencoderKL": (
        {**TWO_BLOCKS, "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
        {"sample": (1, 3, 32, 32)}, {}),
    "AutoencoderTiny": ({}, {"sample": (1, 3, 32, 32)}, {}),
    "VQModel": (
        {**TWO_BLOCKS, "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
        {"sample": (1, 3, 32, 32)}, {}),
    "DiTTransformer2DModel": (
        {**HEADS, "num_layers": 2, "sample_size": 8, "out_channels": 8},
        {"hidden_states": (1, 4, 8, 8)}, {**TIME, "class_labels": torch.tensor([3])}),
    "PixArtTransformer2DModel": (
        {**HEADS, "num_layers": 2, "sample_size": 8, "cross_attention_dim": 256, "caption_channels": 256,
         "use_additional_conditions": False},
        {"hidden_states": (1, 4, 8, 8), "encoder_hidden_states": TEXT}, TIME),
    "SD3Transformer2DModel": (
        {**HEADS, "num_layers": 2, "sample_size": 8, "joint_attention_dim": 256, "caption_projection_dim": 256,
         "pooled_projection_dim": 256, "pos_embed_max_size": 16},
        {"hidden_states": (1, 16, 8, 8), "encoder_hidden_states": TEXT, "pooled_projections": (1, 256)}, TIME),
    "FluxTransformer2DModel": (
        {**HEADS, "num_layers": 1, "num_single_layers": 2, "joint_attention_dim": 256, "pooled_projection_dim": 256,
         "axes_dims_rope": (16, 24, 24), "guidance_embeds": True},
        {"hidden_states": (1, 16, 64), "encoder_hidden_states": TEXT, "pooled_projections": (1, 256)},
        {"timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5]), "img_ids": torch.zeros(16, 3),
         "txt_ids": torch.zeros(8, 3)}),
    "AuraFlowTransformer2DModel": (
        {**HEADS, "num_mmdit_layers": 1, "num_single_dit_layers": 1, "sample_size": 8, "joint_attention_dim": 256,
         "caption_projection_dim": 256, "pos_embed_max_size": 64},
        {"hidden_states": (1, 4, 8, 8), "encoder_hidden_states": TEXT}, {"timestep": torch.tensor([0.5])}),
    "SanaTransformer2DModel": (
        {"num_layers": 2, "num_attention_heads": 4, "attention_head_dim": 64, "num_cross_attention_heads": 4,
         "cross_attention_head_dim": 64, "cross_attention_dim": 256, "caption_channels": 256, "sample_size": 8},
        {"hidden_states": (1, 32, 8, 8), "encoder_hidden_states": TEXT}, TIME),
    "CogVideoXTransformer3DModel": (
        {**HEADS, "num_layers": 2, "sample_width": 8, "sample_height": 8, "sample_frames": 5, "text_embed_dim": 256,
         "max_text_seq_length": 8, "time_embed_dim": 256},
        {"hidden_states": (1, 2, 16, 8, 8), "encoder_hidden_states": TEXT}, TIME),
    "WanTransformer3DModel": (
        {**HEADS, "num_layers": 2, "text_dim": 256, "freq_dim": 256, "ffn_dim": 512},
        {"hidden_states": (1, 16, 2, 8, 8), "encoder_hidden_states": TEXT}, TIME),
    "LTXVideoTransformer3DModel": (
        {**HEADS, "num_layers": 2, "cross_attention_dim": 256, "caption_channels": 256},
        {"hidden_states": (1, 16, 128), "encoder_hidden_states": TEXT},
        {**TIME, "num_frames": 1, "height": 4, "width": 4, "encoder_attention_mask": torch.ones(1, 8)}),
    "Lumina2Transformer2DModel": (
        {"hidden_size": 256, "num_layers": 2, "num_refiner_layers": 1, "num_attention_heads": 4, "num_kv_heads": 2,
         "axes_dim_rope": (16, 24, 24), "cap_feat_dim": 256, "sample_size": 8},
        {"hidden_states": (1, 16, 8, 8), "encoder_hidden_states": TEXT},
        {"timestep": torch.tensor([0.5]), "encoder_attention_mask": torch.ones(1, 8, dtype=torch.bool)}),
    "PriorTransformer": (
        {**HEADS, "num_layers": 2, "embedding_dim": 256, "num_embeddings": 8},
        {"hidden_states": (1, 256), "proj_embedding": (1, 256), "encoder_hidden_states": TEXT}, TIME),
    "QwenImageTransformer2DModel": (
        {**HEADS, "num_layers": 2, "joint_attention_dim": 256, "axes_dims_rope": (16, 24, 24)},
        {"hidden_states": (1, 16, 64), "encoder_hidden_states": TEXT},
        {"timestep": torch.tensor([0.5]), "img_shapes": [[(1, 4, 4)]],
         "encoder_hidden_states_mask": torch.ones(1, 8, dtype=torch.long)}),
}  # fmt: skip


def available() -> list[str]:
    """Names of these models; none without diffusers."""
    try:
        import diffusers  # noqa: F401
    except ImportError:
        return []
    return sorted(DIFFUSERS)


def build_diffusers(name: str, dtype: torch.dtype) -> Built:
    """The model with noise on its parameters. Raises NotBuiltError."""
    config, shapes, given = DIFFUSERS[name]
    try:
        import diffusers

        loader = getattr(diffusers, name)
        torch.manual_seed(0)
        model = cast(loader(**config).eval(), dtype)
        add_noise(model)
        inputs = _inputs(shapes, given, dtype)
        with torch.no_grad():
            model(**inputs)
    except Exception as error:
        raise NotBuiltError(f"model: {reason(error)}") from error
    return Built(model, loader, inputs)


def cast(model: Any, dtype: torch.dtype) -> Any:
    """The model as `from_pretrained` casts one: what is stored, but for modules that it keeps in float32."""
    kept = set(model._keep_in_fp32_modules or ())
    stored = set(model.state_dict())
    for module_name, module in model.named_modules():
        for name, one in [*module._parameters.items(), *module._buffers.items()]:
            path = f"{module_name}.{name}" if module_name else name
            if one is not None and one.is_floating_point() and path in stored and not kept & set(path.split(".")):
                one.data = one.data.to(dtype)
    return model


def _inputs(shapes: dict[str, Shape], given: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    noise = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return noise | {name: value.to(dtype) if _is_floats(value) else value for name, value in given.items()}


def _is_floats(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
