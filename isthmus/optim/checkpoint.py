# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that survive a kill: tensors first under names with their step, then one atomic pointer to them."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from isthmus.files import atomic_write
from isthmus.optim.muon import MuonAdamW

POINTER = "checkpoint.json"


def checkpoint_of(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """What the checkpoint of `folder` says of itself; None where there is none.

    Raises ValueError when it was made with other settings than `config`.
    """
    if not (folder / POINTER).exists():
        return None
    pointer: dict[str, Any] = json.loads((folder / POINTER).read_text())
    differing = [k for k in {**pointer["config"], **config} if pointer["config"].get(k) != config.get(k)]
    if differing:
        raise ValueError(
            f"{folder}: the checkpoint there was made with other settings ({', '.join(differing)}); "
            "use the same ones to go on, or another folder to begin anew"
        )
    return pointer


@dataclass
class TrainingState:
    """What a training needs to go on as if it had not been stopped."""

    modules: nn.ModuleDict
    average: dict[str, Tensor]  # moving average of every floating-point parameter and buffer of `modules`
    optimizer: torch.optim.Optimizer | MuonAdamW
    step: int = 0
    seconds: float = 0.0  # spent training, over all runs
    devices: list[str] = field(default_factory=list)  # that trained it, in order of first use

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}

    def save(self, folder: Path, config: dict[str, Any]) -> None:
        """Writes a checkpoint into `folder`; the one before is removed only when the new one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        names = {part: f"step-{self.step:07d}.{part}.safetensors" for part in ("model", "optimizer")}
        model = {f"model.{k}": v.contiguous() for k, v in self.modules.state_dict().items()}
        model |= {f"average.{k}": v.contiguous() for k, v in self.average.items()}
        atomic_write(folder / names["model"], save(model))  # not save_file, whose files are the user's alone
        atomic_write(folder / names["optimizer"], save(self._optimizer_tensors()))
        pointer = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "devices": self.devices,
            "files": names,
            "config": config,
        }
        temporary = folder / (POINTER + ".part")
        temporary.write_text(json.dumps(pointer, indent=1))
        os.replace(temporary, folder / POINTER)
        for old in folder.glob("step-*.safetensors"):
            if old.name not in names.values():
                old.unlink()

    def load(self, folder: Path, config: dict[str, Any]) -> bool:
        """Takes up the checkpoint of `folder`, if there is one; says whether.

        Raises ValueError when it was made with other settings than `config`.
        """
        pointer = checkpoint_of(folder, config)
        if pointer is None:
            return False
        model = load_file(folder / pointer["files"]["model"])
        self.modules.load_state_dict({k[6:]: v for k, v in model.items() if k.startswith("model.")})
        for key, value in self.average.items():
            value.copy_(model[f"average.{key}"])
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / pointer["files"]["optimizer"]).items():
            index, name = key.split(".")
            entries.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": entries})
        self.step, self.seconds, self.devices = pointer["step"], pointer["seconds"], pointer["devices"]
        return True
