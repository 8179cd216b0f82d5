# SPDX-License-Identifier: Apache-2.0
"""Which parameters a weight decay is for."""

from torch import nn

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)  # the convolutions of torch, transposed ones too
OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")  # of `nn.MultiheadAttention`


def decayed(model: nn.Module, start: str = "") -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with and without decay: with it the weights of linear layers, convolutions and attention.

    Without it all else: biases, norms, tokens, tables of positions. start: what names of parameters begin with, of
    those that are asked for; each parameter is told once.
    """
    chosen = set[int]()
    for module in model.modules():
        names: tuple[str, ...] = ("weight",) if isinstance(module, LAYERS) else ()
        names = OF_ATTENTION if isinstance(module, nn.MultiheadAttention) else names
        chosen |= {id(own) for name in names if (own := getattr(module, name)) is not None}
    asked = [parameter for name, parameter in model.named_parameters() if name.startswith(start)]
    return [p for p in asked if id(p) in chosen], [p for p in asked if id(p) not in chosen]
