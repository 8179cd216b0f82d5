# SPDX-License-Identifier: Apache-2.0
"""Which modules of a model decode their weights together, just before they run."""

from collections.abc import Collection

from torch import nn

# Modules that read the weights of modules below them without calling these.
READ_BELOW = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# Modules that are never called themselves.
HOLDERS = (nn.ParameterList, nn.ParameterDict, nn.ModuleList, nn.ModuleDict)


def find_blocks(model: nn.Module, owners: Collection[str], blocks: Collection[str] | None) -> dict[str, str]:
    """For each module that owns weights, by name, the name of the module before whose forward they are decoded.

    blocks: names of such modules; a weight outside of them all is decoded before its owner. When None, the layers of a
    transformer are found: the outermost modules that are elements of an nn.ModuleList.

    Raises ValueError for a block that the model does not have.
    """
    check_blocks(model, blocks)
    modules = dict(model.named_modules(remove_duplicate=False))
    return {owner: _block_of(owner, modules, blocks) for owner in owners}


def check_blocks(model: nn.Module, blocks: Collection[str] | None) -> None:
    """Raises ValueError for a block that the model does not have."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for block in blocks or ():
        if block not in modules:
            raise ValueError(f"attach: blocks name {block!r}, which the model does not have")


def _block_of(owner: str, modules: dict[str, nn.Module], blocks: Collection[str] | None) -> str:
    parts = owner.split(".") if owner else []
    path = [".".join(parts[:depth]) for depth in range(len(parts) + 1)]  # from the model itself down to the owner
    chosen = len(path) - 1
    for depth, name in enumerate(path):
        below_list = depth > 0 and isinstance(modules[path[depth - 1]], nn.ModuleList)
        is_block = name in blocks if blocks is not None else below_list
        if is_block or isinstance(modules[name], READ_BELOW):
            chosen = depth
            break
    while chosen and isinstance(modules[path[chosen]], HOLDERS):
        chosen -= 1
    return path[chosen]
