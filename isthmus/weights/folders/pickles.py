# SPDX-License-Identifier: Apache-2.0
"""Models in pickles of PyTorch, which isthmus does not open: the command that converts them."""

from pathlib import Path

from isthmus.weights.folders.config import is_transformers
from isthmus.weights.folders.names import PLAIN

PICKLES = (".bin", ".pth", ".pt", ".ckpt")


def conversion(pickles: list[Path]) -> str:
    """The command that converts a model in pickles: with transformers, where it is one of theirs, as one may be in many
    files and have tensors that share memory."""
    folder = pickles[0].parent
    if (folder / "config.json").is_file() and is_transformers(folder / "config.json"):
        return (
            'python -c "import transformers as t; p = '
            f"{str(folder)!r}; c = t.AutoConfig.from_pretrained(p); "
            "getattr(t, c.architectures[0]).from_pretrained(p, dtype='auto').save_pretrained(p + '-safetensors')\""
        )
    target = pickles[0].with_name(pickles[0].stem.removeprefix("pytorch_") + PLAIN)
    return (
        'python -c "import torch; from safetensors.torch import save_file; '
        f"w = torch.load({str(pickles[0])!r}, map_location='cpu', weights_only=True); "
        f"save_file({{k: v.clone() for k, v in w.items()}}, {str(target)!r}, "
        "{'format': 'pt'})\""
    )
