# SPDX-License-Identifier: Apache-2.0
"""From a finished training to a weights file and its recipe."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.codecs.registry import load
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.codecs.walloc.weights import save_weights
from isthmus.models.walloc.image import Walloc
from isthmus.models.walloc.linear import WallocLinear
from isthmus.training.walloc.context import fit_context
from isthmus.training.walloc.tables import fit_factorized
from isthmus.training.walloc.trainer import TrainingConfig


def export(
    folder: Path,
    name: str,
    model: Walloc,
    config: TrainingConfig,
    files: Sequence[Path],
    images: Sequence[Tensor],
    progress: dict[str, Any],
    device: str = "cpu",
) -> Path:
    """Fits the entropy models on `images`, which came from `files`; writes NAME.safetensors and NAME.json."""
    linear = WallocLinear.of(model)
    path = folder / f"{name}.safetensors"
    threads = torch.get_num_threads()
    tables = fit_factorized(linear, images, threads=threads)
    steps, seed = config.context_steps, config.seed
    context = fit_context(linear.analyzer(threads), images, device=torch.device(device), steps=steps, seed=seed)
    save_weights(path, model, tables, context)
    codec = load(str(path))  # reads back what was written: a file that does not load never ships
    assert isinstance(codec, WallocImageCodec)
    write_recipe(path, codec, model, config, files, "images", progress)
    return path


def write_recipe(
    path: Path,
    codec: WallocImageCodec | WallocAudioCodec,
    model: nn.Module,
    config: Any,
    files: Sequence[Path],
    what: str,
    progress: dict[str, Any],
) -> None:
    """How a trained file was made, as JSON beside it. config: of the training; what: the files are, such as images."""
    recipe = {
        "name": path.stem,
        "tables": codec.tables_hashes,
        "weights_hash": codec.weights_hash,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": asdict(config),
        **progress,
        "torch": torch.__version__,
        "python": platform.python_version(),
        what: {f.stem: sha256(f.read_bytes()).hexdigest()[:16] for f in files},
    }
    path.with_suffix(".json").write_text(json.dumps(recipe, indent=1) + "\n")
