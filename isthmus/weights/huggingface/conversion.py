# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checkpoint matched with a model of transformers that names them in another way, by its own mapping."""

import copy
import re
import sys
from typing import Any

from torch import nn

from isthmus.weights.attached.load import Matched, match_names, places
from isthmus.weights.attached.source import FileSource, Source
from isthmus.weights.attached.tensors.tensor import CompressedTensor, Loading
from isthmus.weights.huggingface.tensors import tensors_of


def match(model: nn.Module, source: Source) -> Matched:
    """Tensors by their names, and if some have others, as transformers loads them (renamed, merged, cut).

    Raises ValueError where transformers cannot convert them.
    """
    found: Matched | None = None
    problem: ValueError | None = None
    try:
        found = match_names(model, source)
    except ValueError as error:
        problem = error
    if (found is None or found.missing) and isinstance(source, FileSource) and _is_of_transformers(model):
        return _converted(model, source)
    if problem is not None:
        raise problem
    assert found is not None
    return found


def _is_of_transformers(model: nn.Module) -> bool:
    loader = sys.modules.get("transformers.modeling_utils")
    return loader is not None and isinstance(model, loader.PreTrainedModel)


def _converted(model: nn.Module, source: FileSource) -> Matched:
    """What transformers' own loader makes of the source."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.modeling_utils import LoadStateDictConfig
    except ImportError:
        return _renamed(model, source)
    skeleton = _skeleton(model)
    mapping: Any = get_model_conversion_mapping(skeleton)
    options = LoadStateDictConfig(weight_mapping=mapping)
    info, _ = skeleton._load_pretrained_model(skeleton, tensors_of(source, Loading()), None, options)
    for name, error in info.conversion_errors.items():
        raise ValueError(f"attach: {name} cannot be made of the source's tensors: {str(error).strip()}")
    for name, found, wanted in info.mismatched_keys:
        raise ValueError(
            f"attach: {name} is {list(found)} in the source, but {list(wanted)} in the model; make the model with the "
            "source's config"
        )
    skeleton.tie_weights(missing_keys=info.missing_keys, recompute_mapping=False)
    skeleton._adjust_missing_and_unexpected_keys(info)
    nodes, missing = {}, []
    for place in places(skeleton):
        if isinstance(place.tensor, CompressedTensor):
            nodes[place.names[0]] = place.tensor.node
        elif info.missing_keys.intersection(place.names):
            missing.append(place.names[0])
    return Matched(nodes, tuple(missing), tuple(sorted(info.unexpected_keys)))


def _skeleton(model: nn.Module) -> Any:
    """The model with parameters on the meta device and the same buffers, to be loaded in its place."""
    memo: dict[int, Any] = {id(b): b for b in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    return copy.deepcopy(model, memo)


def _renamed(model: Any, source: FileSource) -> Matched:
    """As transformers does before 5.0, which renames tensors, and knows those of a base model without its prefix."""
    found = places(model)
    known = {name for place in found for name in place.names}
    prefix = f"{model.base_model_prefix}."
    nodes, unused = {}, []
    for name, tensor in tensors_of(source, Loading()).items():
        new = name
        for pattern, by in (getattr(model, "_checkpoint_conversion_mapping", None) or {}).items():
            new, count = re.subn(pattern, by, name)
            if count:
                break
        fitting = [one for one in (new, name, prefix + new, new.removeprefix(prefix)) if one in known]
        if fitting:
            nodes[fitting[0]] = tensor.node  # type: ignore[attr-defined]
        else:
            unused.append(name)
    missing = (place.names[0] for place in found if not nodes.keys() & set(place.names))
    return Matched(nodes, tuple(missing), tuple(sorted(unused)))
