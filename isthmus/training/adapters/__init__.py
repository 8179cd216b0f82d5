# SPDX-License-Identifier: Apache-2.0
"""Training of adapters: backbones that were trained on pixels learn to read latents."""

from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.adapters.run import train_adapter

__all__ = ["AdapterRecipe", "train_adapter"]
