# SPDX-License-Identifier: Apache-2.0
"""Which compressed tensors of a model are decoded together, and when."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from isthmus.weights.attached.blocks import READ_BELOW, find_blocks
from isthmus.weights.attached.embedding import CompressedEmbedding
from isthmus.weights.attached.group import Group
from isthmus.weights.attached.linear import CompressedLinear
from isthmus.weights.attached.load import Loaded

Kind: TypeAlias = type[CompressedEmbedding] | type[CompressedLinear]


@dataclass(frozen=True)
class Groups:
    """before: what each block decodes before it runs. compressed: modules that compute with compressed weights, each
    with its kind, its group and the block to whose end that stays decoded if it has to be.
    """

    before: dict[nn.Module, list[Group]]
    compressed: list[tuple[nn.Module, Kind, Group, nn.Module]]


def group_items(model: nn.Module, loaded: Loaded, blocks: Collection[str] | None, *, fused: bool) -> Groups:
    """What the same blocks need is one group. Raises ValueError as `find_blocks`."""
    modules = dict(model.named_modules(remove_duplicate=False))
    block_of = find_blocks(model, {owner for owners in loaded.owners.values() for owner in owners}, blocks)
    together: dict[tuple[frozenset[nn.Module], frozenset[nn.Module]], list[str]] = {}
    of_item: dict[str, list[tuple[nn.Module, Kind, nn.Module]]] = {}
    for item, owners in loaded.owners.items():
        slots = [slot for of_tensor in loaded.slots[item] for slot in of_tensor]
        kinds: dict[nn.Module, Kind] = {}
        others = {module for module, name in slots if name != "weight"}
        for owner in owners:
            kind = _kind(owner, modules, block_of, fused=fused)
            if kind:
                kinds[modules[owner]] = kind
            else:
                others.add(modules[owner])  # under one of its names it cannot
        kinds = {module: kind for module, kind in kinds.items() if module not in others}
        pairs = dict.fromkeys((modules[owner], modules[block_of[owner]]) for owner in owners)
        before = frozenset(block for module, block in pairs if module not in kinds)
        # What is decoded before a block runs is there anyway.
        of_item[item] = [(m, kinds[m], block) for m, block in pairs if m in kinds and block not in before]
        together.setdefault((before, frozenset(block for _, _, block in of_item[item])), []).append(item)
    found = Groups({}, [])
    for (before, _), items in together.items():
        group = Group([loaded.items[item] for item in items], [loaded.slots[item] for item in items])
        for block in before:
            found.before.setdefault(block, []).append(group)
        for module, kind, block in (of for item in items for of in of_item[item]):
            found.compressed.append((module, kind, group, block))
            found.before.setdefault(block, [])
    return found


def _kind(owner: str, modules: dict[str, nn.Module], block_of: dict[str, str], *, fused: bool) -> Kind | None:
    """As what a module can compute with its compressed weight, which nothing above it reads.

    An embedding within a block is decoded with that, whose forward may read its weight.
    """
    parts = owner.split(".")
    above = [".".join(parts[:depth]) for depth in range(len(parts))]
    if any(isinstance(modules[name], READ_BELOW) for name in above):
        return None
    if block_of[owner] == owner and CompressedEmbedding.fits(modules[owner]):
        return CompressedEmbedding
    return CompressedLinear if fused and CompressedLinear.fits(modules[owner]) else None
