# SPDX-License-Identifier: Apache-2.0
"""`config.json` of transformers, told where compressed weights are by text that comes out again without a trace."""

import json
import re
from pathlib import Path
from typing import Any

CONFIG, INDEX = "config.json", "model.dfloat.safetensors.index.json"
QUANTIZED = b'\n  "quantization_config": {"quant_method": "dfloat", "format": "dfloat.1"},'
NAMED = f'\n  "transformers_weights": "{INDEX}",'.encode()
KEY, RENAMED = b'"transformers_weights"', b'"dfloat_transformers_weights"'


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
        raw = _rename_key(raw)
    text = NAMED if "quantization_config" in config else QUANTIZED + NAMED
    at = raw.index(b"{") + 1
    return raw[:at] + text + raw[at:]


def _rename_key(raw: bytes) -> bytes:
    """The config without `transformers_weights`, of which the last would count, at its top; others stay."""
    for match in re.finditer(KEY + rb"(?=\s*:)", raw):
        changed = raw[: match.start()] + RENAMED + raw[match.end() :]
        if "transformers_weights" not in (read_config(changed) or {}):
            return changed
    return raw


def restore_config(raw: bytes) -> bytes:
    """The bytes of a config as they were, marked or not; without our keys where another program has rewritten it."""
    at, plain = raw.find(b"{") + 1, raw
    if plain.startswith(QUANTIZED, at):
        plain = plain[:at] + plain[at + len(QUANTIZED) :]
    if plain.startswith(NAMED, at):
        plain = plain[:at] + plain[at + len(NAMED) :]
        return plain.replace(RENAMED, KEY, 1)
    config = read_config(raw) or {}
    quantized = config.get("quantization_config")
    ours = [isinstance(quantized, dict) and quantized.get("quant_method") == "dfloat", _names_ours(config)]
    if not any(ours):
        return raw
    for key, mine in zip(("quantization_config", "transformers_weights"), ours, strict=True):
        if mine:
            del config[key]
    if "dfloat_transformers_weights" in config:
        config["transformers_weights"] = config.pop("dfloat_transformers_weights")
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def _names_ours(config: dict[str, Any]) -> bool:
    return config.get("transformers_weights") == INDEX
