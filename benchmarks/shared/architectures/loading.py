# SPDX-License-Identifier: Apache-2.0
"""How a saved folder is loaded, as it is and compressed. The one place that knows the function under test."""

from pathlib import Path
from typing import Any

import torch

from isthmus import weights

from .diffusion import cast


def load_plain(folder: Path, loader: Any, dtype: torch.dtype) -> Any:
    """The model as its own library loads it.

    Its weights lie in a mapped file, each at any multiple of 8 bytes, by which products of matrices on the CPU may be
    other bits; they are copied to where torch would have them.
    """
    named = {"torch_dtype" if is_diffusers(loader) else "dtype": dtype}
    model = loader.from_pretrained(folder, **named).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def load_compressed(folder: Path, loader: Any, dtype: torch.dtype) -> Any:
    """The model that runs from compressed weights."""
    if is_diffusers(loader):
        model = cast(loader.from_config(loader.load_config(folder)).eval(), dtype)
        weights.attach(model, folder)
        return model
    return weights.from_pretrained(folder, loader, dtype=dtype).eval()


def is_diffusers(loader: Any) -> bool:
    return loader.__module__.startswith("diffusers.")
