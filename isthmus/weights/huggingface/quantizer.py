# SPDX-License-Identifier: Apache-2.0
"""The quantizer by which transformers loads compressed folders; importing this connects it."""

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, modeling_utils
from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    register_quantization_config,
    register_quantizer,
)
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from isthmus.errors import CorruptStreamError
from isthmus.weights.attached.attachment import Attachment
from isthmus.weights.attached.devices import Devices
from isthmus.weights.attached.load import settle_pending
from isthmus.weights.folders.config import INDEX, METHOD
from isthmus.weights.folders.index import read_index
from isthmus.weights.huggingface.tensors import SUFFIX, end_loading, state_dict_of
from isthmus.weights.mark import FORMAT


@dataclass(frozen=True)
class LoadOptions:
    """What `from_pretrained` is asked for; as `attach`."""

    offload: bool = False
    fused: bool = False
    blocks: tuple[str, ...] | None = None
    threads: int | None = None
    base: Path | None = None


# Of configs: how they say that a model is quantized.
FORGOTTEN = ("quantization_config", "transformers_weights", "_is_quantized", "_pre_quantization_dtype")
OPTIONS: ContextVar[LoadOptions] = ContextVar("isthmus_load_options", default=LoadOptions())  # noqa: B039


class DFloatConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` of a compressed folder."""

    def __init__(self, format: str = FORMAT, **_: Any) -> None:
        if format != FORMAT:
            raise ValueError(f"config.json: weights of format {format!r}, expected {FORMAT!r}; update isthmus")
        self.quant_method: Any = METHOD
        self.format = format


class DFloatQuantizer(HfQuantizer):  # type: ignore[misc]
    """Leaves the model as it is; once its tensors are in place they are attached."""

    requires_calibration = False
    requires_parameters_quantization = False
    is_trainable = True  # adapters are
    is_compileable = True

    def validate_environment(self, *_: Any, device_map: Any = None, **__: Any) -> None:
        """Raises ValueError for a device map with "disk"."""
        if isinstance(device_map, dict) and "disk" in device_map.values():
            raise ValueError("device_map names 'disk': compressed weights stay in their file on the CPU; say 'cpu'")

    def is_serializable(self, *_: Any, **__: Any) -> bool:
        return True

    def param_element_size(self, *_: Any, **__: Any) -> float:
        """Bytes a weight that transformers makes room for before it loads: we do so ourselves."""
        return 0.0

    def _process_model_before_weight_loading(self, model: nn.Module, device_map: Any = None, **_: Any) -> nn.Module:
        """Raises ValueError for a device map that names what the model does not have."""
        if isinstance(device_map, dict):
            Devices(device_map).check(model)
        return model

    def _process_model_after_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
        options = OPTIONS.get()
        with torch.inference_mode(False):
            settle_pending(model)
            end_loading()
            Attachment(
                model, offload=options.offload, fused=options.fused, blocks=options.blocks,
                threads=options.threads or torch.get_num_threads(),
            )  # fmt: skip
        self._forget(model)
        return model

    def _forget(self, model: Any) -> None:
        """Makes the model one like others, whose `save_pretrained` writes ordinary weights."""
        found = [getattr(module, "config", None) for module in model.modules()]
        configs = [config for config in found if isinstance(config, PretrainedConfig)]
        owners: list[tuple[Any, tuple[str, ...]]] = [(model, ("hf_quantizer", "quantization_method"))]
        owners += [(config, FORGOTTEN) for config in configs]
        for owner, names in owners:
            for name in names:
                if name in vars(owner):
                    delattr(owner, name)
        model.is_quantized = False


def _refuse_others(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """`_get_resolved_checkpoint_files` that raises ValueError for files of a compressed folder that are not its own."""

    @wraps(resolve)
    def resolved(*args: Any, **kwargs: Any) -> Any:
        ours = kwargs.get("transformers_explicit_filename") == INDEX
        for name, wrong in (("variant", kwargs.get("variant")), ("use_safetensors", kwargs.get("use_safetensors"))):
            if ours and (wrong is False or isinstance(wrong, str)):
                raise ValueError(
                    f"from_pretrained: {name}={wrong!r} of a compressed folder, which has its standard weights alone; "
                    "compress a folder with those weights under the standard name"
                )
        if ours:
            _check_folder(Path(str(kwargs.get("pretrained_model_name_or_path"))))
        return resolve(*args, **kwargs)

    return resolved


def _check_folder(folder: Path) -> None:
    """Raises CorruptStreamError for an index that names files elsewhere, or plain weights beside compressed ones."""
    for index in folder.glob(f"**/{INDEX}"):  # by transformers' argument `subfolder` it may lie further down
        for name in sorted(set(read_index(index).values())):
            plain = (index.parent / name).with_suffix(".safetensors")
            if name.endswith(SUFFIX) and plain.is_file():
                raise CorruptStreamError(f"{plain}: lies beside {name}: which of both is meant? Remove the other one")


def _connect() -> None:
    if METHOD not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        register_quantization_config(METHOD)(DFloatConfig)
        register_quantizer(METHOD)(DFloatQuantizer)
    original = modeling_utils.load_state_dict

    @wraps(original)
    def load_state_dict(checkpoint_file: Any, *args: Any, **kwargs: Any) -> Any:
        if not os.fspath(checkpoint_file).endswith(SUFFIX):
            return original(checkpoint_file, *args, **kwargs)
        meta = "meta" in (*args, kwargs.get("map_location"))
        return state_dict_of(checkpoint_file, base=OPTIONS.get().base, meta=meta)

    modeling_utils.load_state_dict = load_state_dict
    modeling_utils._get_resolved_checkpoint_files = _refuse_others(modeling_utils._get_resolved_checkpoint_files)


_connect()
