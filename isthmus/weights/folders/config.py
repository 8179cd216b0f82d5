# SPDX-License-Identifier: Apache-2.0
"""`config.json` of transformers, told where compressed weights are by text that comes out again without a trace."""

import json
import re
from pathlib import Path
from typing import Any

CONFIG, INDEX = "config.json", "model.dfloat.safetensors.index.json"
METHOD = "isthmus-dfloat"  # quant_method: transformers prints it where nobody has imported us
QUANTIZED = f'\n  "quantization_config": {{"quant_method": "{METHOD}", "format": "dfloat.1"}},'.encode()
NAMED = f'\n  "transformers_weights": "{INDEX}",'.encode()
RENAMED = "dfloat_"  # before a key of the original that stands in the way


def read_config(raw: bytes) -> dict[str, Any] | None:
    """The config of a model of transformers; None for anything else."""
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and ("model_type" in found or "architectures" in found) else None


def is_transformers(path: Path) -> bool:
    """Whether a config.json is that of a model of transformers."""
    try:
        return read_config(path.read_bytes()) is not None
    except OSError:
        return False


def mark_config(raw: bytes) -> bytes:
    """A config that `read_config` knows, naming `INDEX` as the model's weights; `restore_config` is the inverse.

    Such an object has keys, so that the commas are right.
    """
    config = read_config(raw) or {}
    if "transformers_weights" in config:
        raw = _rename_key(raw, "transformers_weights")
    quantized = config.get("quantization_config") is not None
    if "quantization_config" in config and not quantized:
        raw = _rename_key(raw, "quantization_config")  # null, which would count as it comes later
    text = NAMED if quantized else QUANTIZED + NAMED
    at = raw.index(b"{") + 1
    return raw[:at] + text + raw[at:]


def _rename_key(raw: bytes, key: str) -> bytes:
    """The config without a key at its top, of which the last would count; others stay."""
    for match in re.finditer(f'"{key}"'.encode() + rb"(?=\s*:)", raw):
        changed = raw[: match.start()] + f'"{RENAMED}{key}"'.encode() + raw[match.end() :]
        if key not in (read_config(changed) or {}):
            return changed
    return raw


def restore_config(raw: bytes) -> bytes:
    """The bytes of a config as they were, marked or not; without our keys where another program has rewritten it."""
    at, plain = raw.find(b"{") + 1, raw
    if plain.startswith(QUANTIZED, at):
        plain = plain[:at] + plain[at + len(QUANTIZED) :]
    if plain.startswith(NAMED, at):
        plain = plain[:at] + plain[at + len(NAMED) :]
        for key in ("transformers_weights", "quantization_config"):
            plain = plain.replace(f'"{RENAMED}{key}"'.encode(), f'"{key}"'.encode(), 1)
        return plain
    config = read_config(raw) or {}
    quantized = config.get("quantization_config")
    ours = [isinstance(quantized, dict) and quantized.get("quant_method") == METHOD, _names_ours(config)]
    if not any(ours):
        return raw
    for key, mine in zip(("quantization_config", "transformers_weights"), ours, strict=True):
        if mine:
            del config[key]
    for key in ("transformers_weights", "quantization_config"):
        if RENAMED + key in config:
            config[key] = config.pop(RENAMED + key)
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def _names_ours(config: dict[str, Any]) -> bool:
    return config.get("transformers_weights") == INDEX
