# SPDX-License-Identifier: Apache-2.0
"""Which compressed parameters of a model are decoded together, and when."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import nn

from isthmus.kernels.cuda.huffman.linear import can_multiply
from isthmus.weights.attached.blocks import READ_BELOW, find_blocks
from isthmus.weights.attached.decoding.group import Group, Settings
from isthmus.weights.attached.tensors.nodes import Held, Stored, leaves
from isthmus.weights.attached.tensors.tensor import CompressedTensor


@dataclass(frozen=True)
class Groups:
    """before: what each block decodes before it runs. later: what it keeps decoded to its end if something in it has to
    decode that.
    """

    before: dict[nn.Module, list[Group]] = field(default_factory=dict)
    later: dict[nn.Module, list[Group]] = field(default_factory=dict)
    all: list[Group] = field(default_factory=list)


# What is decoded together: blocks before which it is, blocks to whose end it stays, whether matrices are multiplied as
# they are compressed, and for a table of which rows are decoded by themselves its id.
_Key = tuple[frozenset[nn.Module], frozenset[nn.Module], bool, int]


@dataclass
class _Use:
    """A parameter of a model under all its names."""

    param: CompressedTensor
    owners: list[str]  # names of modules, "" for the model
    names: list[str]  # below these


def compressed_parameters(model: nn.Module) -> dict[CompressedTensor, list[str]]:
    """The compressed parameters of a model, each with all its names."""
    found: dict[int, tuple[CompressedTensor, list[str]]] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, param in module._parameters.items():
            if isinstance(param, CompressedTensor):
                full = f"{prefix}.{name}" if prefix else name
                found.setdefault(id(param), (param, []))[1].append(full)
    return dict(found.values())


def group_parameters(model: nn.Module, blocks: Collection[str] | None, settings: Settings, *, fused: bool) -> Groups:
    """Makes groups of what the same blocks need, and the parameters theirs. Raises ValueError as `find_blocks`."""
    uses = [  # those that another model holds decode with that
        _Use(param, [n.rpartition(".")[0] for n in names], [n.rpartition(".")[2] for n in names])
        for param, names in compressed_parameters(model).items()
        if not any(isinstance(leaf, Held) for leaf in leaves(param.node))
    ]
    modules = dict(model.named_modules(remove_duplicate=False))
    block_of = find_blocks(model, {owner for use in uses for owner in use.owners}, blocks)
    together: dict[_Key, list[_Use]] = {}
    for some in _with_common_items(uses):
        kinds = {owner: _kind(owner, use, modules, block_of, fused=fused) for use in some for owner in use.owners}
        pairs = {(modules[block_of[owner]], kind) for owner, kind in kinds.items()}
        before = frozenset(block for block, kind in pairs if kind is None)
        # What is decoded before a block runs is there anyway.
        later = frozenset(block for block, kind in pairs if kind is not None and block not in before)
        alone = nn.Embedding in kinds.values() and len(some) == 1 and isinstance(some[0].param.node, Stored)
        key = before, later, nn.Linear in kinds.values(), id(some[0]) if alone else 0
        together.setdefault(key, []).extend(some)
    found = Groups()
    for (before, later, multiplies, rows), some in together.items():
        group = Group([use.param for use in some], settings)
        group.by_rows, group.fused = bool(rows), multiplies
        for number, use in enumerate(some):
            use.param.label = ".".join(filter(None, (use.owners[0], use.names[0])))
            use.param.node, use.param.loading = Held(group, number, use.param.node.meta), None
        found.all.append(group)
        for blocks_of_group, of in ((before, found.before), (later, found.later)):
            for block in blocks_of_group:
                of.setdefault(block, []).append(group)
    return found


def _with_common_items(uses: list[_Use]) -> list[list[_Use]]:
    """Parameters, those together that are made of the same items of a file."""
    sets: list[tuple[set[int], list[_Use]]] = []
    of_item: dict[int, int] = {}
    for use in uses:
        items = {id(leaf.item) for leaf in leaves(use.param.node) if isinstance(leaf, Stored)}
        joined = (items, [use])
        for place in sorted({of_item[item] for item in items if item in of_item}):
            joined = (sets[place][0] | joined[0], sets[place][1] + joined[1])
            sets[place] = (set(), [])
        sets.append(joined)
        of_item |= dict.fromkeys(joined[0], len(sets) - 1)
    return [some for _, some in sets if some]


def _kind(
    owner: str, use: _Use, modules: dict[str, nn.Module], block_of: dict[str, str], *, fused: bool
) -> type[nn.Module] | None:
    """nn.Embedding or nn.Linear where that computes with its weight as it is compressed, which nothing above it reads.

    An embedding within a block is decoded with that, whose forward may read its weight.
    """
    module, parts = modules[owner], owner.split(".")
    above = [".".join(parts[:depth]) for depth in range(len(parts))]
    if any(isinstance(modules[name], READ_BELOW) for name in above) or set(use.names) != {"weight"}:
        return None
    if block_of[owner] == owner and type(module).forward is nn.Embedding.forward:
        return nn.Embedding
    param = use.param
    can = fused and type(module).forward is nn.Linear.forward and param.dtype == torch.bfloat16
    return nn.Linear if can and can_multiply(param.numel(), param.shape[1]) else None
