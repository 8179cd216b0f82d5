# SPDX-License-Identifier: Apache-2.0
"""`from_pretrained`: a compressed folder as a model of transformers."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from isthmus.errors import MissingExtraError
from isthmus.weights.huggingface.diffusion import is_diffusion, load_diffusion


def from_pretrained(
    path: str | os.PathLike[str],
    auto_class: Any,
    *,
    offload: bool = False,
    fused: bool = False,
    blocks: Collection[str] | None = None,
    threads: int | None = None,
    base: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Any:
    """`auto_class.from_pretrained(path, **options)` of a folder that `compress` made: the model, its weights attached.

        model = weights.from_pretrained("model-df/", AutoModelForCausalLM, dtype="auto")

    A model or pipeline of diffusers (UNet2DConditionModel, DiffusionPipeline) is loaded in the dtype of its weights.

    The model is the same as that of the plain folder, bit for bit, names, tied weights, buffers and generation config
    included, and runs as `attach` says; `attachment_of(model)` reports on it. `save_pretrained` writes plain weights.

    path: the folder, or the name of one on the Hub. auto_class: of transformers, such as AutoModelForCausalLM, or the
    class of a model. offload, fused, blocks, threads, base: as in `attach`. options: those of transformers, among them
    `device_map` and `dtype`.

    Raises MissingExtraError without transformers, TypeError for what is no class of a model, ValueError for a folder
    that is not compressed, and what `auto_class.from_pretrained` raises.
    """
    if not hasattr(auto_class, "from_pretrained"):
        raise TypeError(
            f"weights.from_pretrained: {auto_class!r} is no class of models; give AutoModelForCausalLM, say"
        )
    if is_diffusion(auto_class):
        chosen = {"offload": offload, "fused": fused, "blocks": blocks, "threads": threads, "base": base}
        return load_diffusion(Path(path), auto_class, chosen, options)
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError("weights.from_pretrained needs transformers: pip install 'isthmus[llm]'") from None
    from isthmus.weights.attached.attachment import attachment_of
    from isthmus.weights.huggingface.quantizer import OPTIONS, LoadOptions

    token = OPTIONS.set(
        LoadOptions(
            offload, fused, None if blocks is None else tuple(blocks), threads, None if base is None else Path(base)
        )
    )
    try:
        found = auto_class.from_pretrained(path, **options)
    finally:
        OPTIONS.reset(token)
    model = found[0] if isinstance(found, tuple) else found  # with output_loading_info
    try:
        attachment_of(model)
    except KeyError:
        raise ValueError(f"{path}: not compressed; make a folder with `isthmus weights compress`") from None
    return found
