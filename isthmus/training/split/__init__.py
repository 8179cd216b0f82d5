# SPDX-License-Identifier: Apache-2.0
"""Training of split networks: a bottleneck on the device, an adapter and the rest of a backbone on the server."""

from isthmus.training.split.recipe import SplitRecipe
from isthmus.training.split.run import train_split
from isthmus.training.split.stored import train_tail_on

__all__ = ["SplitRecipe", "train_split", "train_tail_on"]
