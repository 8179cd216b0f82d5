# SPDX-License-Identifier: Apache-2.0
"""From a finished training to a weights file and its recipe."""

import json
import platform
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from isthmus.codecs.weights_file import load_weights, save_weights
from isthmus.models.walloc import Walloc
from isthmus.training.codec import TrainingConfig
from isthmus.training.tables import fit_factorized


def export(
    folder: Path, name: str, model: Walloc, config: TrainingConfig, files: list[Path], progress: dict[str, Any]
) -> Path:
    """Fits the entropy tables on `files` and writes NAME.safetensors and NAME.json into `folder`."""
    model = model.cpu()
    path = folder / f"{name}.safetensors"
    save_weights(path, model, fit_factorized(model, files, threads=torch.get_num_threads()))
    codec = load_weights(path, name, "cpu")  # reads back what was written: a file that does not load never ships
    recipe = {
        "name": name,
        "codec_id": codec.codec_id,
        "tables_hash": codec.entropy.hash,
        "weights_hash": codec.weights_hash,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": asdict(config),
        **progress,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "images": {f.stem: sha256(f.read_bytes()).hexdigest()[:16] for f in files},
    }
    (folder / f"{name}.json").write_text(json.dumps(recipe, indent=1) + "\n")
    return path
