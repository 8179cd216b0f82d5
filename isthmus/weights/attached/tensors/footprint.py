# SPDX-License-Identifier: Apache-2.0
"""How much memory a compressed tensor stands for, as those see it who plan files of weights."""

from dataclasses import dataclass

import torch

from isthmus.weights.attached.tensors.nodes import Node


@dataclass(frozen=True)
class Footprint:
    """How much memory a tensor would take, and a number that tensors share who are one."""

    node: Node
    device: torch.device

    def untyped_storage(self) -> "Footprint":
        return self

    def nbytes(self) -> int:
        return self.node.meta.untyped_storage().nbytes()

    def data_ptr(self) -> int:
        return id(self.node)
