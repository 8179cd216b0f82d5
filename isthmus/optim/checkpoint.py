# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that survive a kill: tensors first under names with their step, then one atomic pointer to them."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from isthmus.errors import first_line
from isthmus.files import atomic_write
from isthmus.optim.muon import MuonAdamW

POINTER, PARTS = "checkpoint.json", ("model", "optimizer")


def is_part(name: Any) -> bool:
    """Whether a file of that name is one of a checkpoint."""
    return isinstance(name, str) and re.fullmatch(r"step-\d{7,}\.(model|optimizer)\.safetensors", name) is not None


def checkpoint_of(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """What the checkpoint of `folder` says of itself; None where there is none.

    Raises ValueError when it was made with other settings than `config`, or is damaged.
    """
    path = folder / POINTER
    if not path.exists():
        return None
    try:
        pointer: dict[str, Any] = json.loads(path.read_text())
        if not (
            type(pointer["step"]) is int and pointer["step"] >= 0 and isinstance(pointer["config"], dict)
            and isinstance(pointer["seconds"], int | float) and isinstance(pointer["devices"], list)
            and all(is_part(pointer["files"][part]) for part in PARTS)
        ):  # fmt: skip
            raise ValueError("its entries are not those of a checkpoint")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: no checkpoint, or a damaged one ({error}): move {folder} away to begin anew"
        ) from error
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
        """Writes a checkpoint into `folder`; the one before is removed only when the new one is whole.

        Raises ValueError for weights that are no numbers: the checkpoint before stays.
        """
        folder.mkdir(parents=True, exist_ok=True)
        names = {part: f"step-{self.step:07d}.{part}.safetensors" for part in PARTS}
        model = {f"model.{k}": v.contiguous() for k, v in self.modules.state_dict().items()}
        model |= {f"average.{k}": v.contiguous() for k, v in self.average.items()}
        broken = [k for k, v in model.items() if v.is_floating_point() and not bool(v.isfinite().all())]
        if broken:
            raise ValueError(
                f"step {self.step}: {broken[0].partition('.')[2]} is no number any more: nothing is saved, the "
                "checkpoint before stays, if there is one; try a lower rate"
            )
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
            if is_part(old.name) and old.name not in names.values():
                old.unlink()

    def load(self, folder: Path, config: dict[str, Any]) -> bool:
        """Takes up the checkpoint of `folder`, if there is one; says whether.

        Raises ValueError when it was made with other settings than `config`, or is damaged.
        """
        pointer = checkpoint_of(folder, config)
        if pointer is None:
            return False
        files = {part: folder / pointer["files"][part] for part in PARTS}
        try:
            model = load_file(files["model"])
            self.modules.load_state_dict({k[6:]: v for k, v in model.items() if k.startswith("model.")})
            for key, value in self.average.items():
                value.copy_(model[f"average.{key}"])
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in load_file(files["optimizer"]).items():
                index, name = key.split(".")
                entries.setdefault(int(index), {})[name] = value
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": entries})
        except (KeyError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            raise ValueError(
                f"{folder}: its checkpoint cannot be read, or is of another model ({first_line(error)}): move the "
                "folder away to begin anew"
            ) from error
        self.step, self.seconds, self.devices = pointer["step"], pointer["seconds"], pointer["devices"]
        return True
