# SPDX-License-Identifier: Apache-2.0
"""The loop around the steps of any training: checkpoints, validation, progress, a stop after some time."""

import math
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isthmus.optim.checkpoint import TrainingState
from isthmus.optim.run_folder import alone_in
from isthmus.progress import Progress

SHOWN_EVERY, SHOWN_SECONDS = 50, 5.0  # steps, or a time, after which a step is asked what it came to

Report = Callable[[], str]


@dataclass(frozen=True)
class LoopSettings:
    """When to save, to validate and to end. minutes: the same call goes on later; save_minutes: below 0, every step."""

    steps: int
    minutes: float = math.inf
    save_minutes: float = 3.0
    validate_every: int = 4000


def device_name(device: torch.device) -> str:
    """What a training runs on, for its recipe."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def run_loop(
    state: TrainingState,
    step: Callable[[], Report],
    folder: Path,
    config: dict[str, Any],
    settings: LoopSettings,
    *,
    device: torch.device,
    validate: Callable[[], str] | None = None,
    leads: bool = True,
    any_of: Callable[[bool], bool] = bool,
) -> bool:
    """Takes up the checkpoint of `folder` if there is one, and runs `step` until the last one or for some minutes.

    step: one optimizer step, which counts `state.step` up and gives what to show of it, asked for now and then.
    validate: at step 0, every `validate_every` steps and at the end; gives a line. config: as `TrainingState.load`.
    leads: of several processes of one training, the one that saves, validates and speaks; any_of: whether something is
    true of any of them. Returns whether the training is complete. Raises ValueError for a checkpoint of other settings,
    or that is damaged, and where another process trains into the folder.
    """
    if not settings.minutes >= 0:
        raise ValueError(f"minutes: {settings.minutes}, expected 0 or more")
    with alone_in(folder) if leads else nullcontext():
        return _run(state, step, folder, config, settings, device, validate, leads, any_of)


def _run(
    state: TrainingState, step: Callable[[], Report], folder: Path, config: dict[str, Any], settings: LoopSettings,
    device: torch.device, validate: Callable[[], str] | None, leads: bool, any_of: Callable[[bool], bool],
) -> bool:  # fmt: skip
    is_new = not state.load(folder, config)
    if state.step > settings.steps:
        raise ValueError(f"{folder}: its checkpoint is of step {state.step}, this training has {settings.steps}")
    validate = validate if leads else None
    shown = Progress(settings.steps, "steps", done=state.step, shown=leads)
    if is_new and validate:
        shown.echo(validate())
    begin = saved = time.monotonic()
    noted = -SHOWN_SECONDS
    before = state.seconds
    limit = settings.minutes * 60
    while state.step < settings.steps and not (math.isfinite(limit) and any_of(time.monotonic() - begin >= limit)):
        report = step()
        now = time.monotonic()
        if device_name(device) not in state.devices:
            state.devices.append(device_name(device))
        if state.step % SHOWN_EVERY == 0 or now - noted > SHOWN_SECONDS:  # it waits for the GPU
            shown.update(note=report())
            noted, state.seconds = now, before + now - begin
        else:
            shown.update()
        if validate and (state.step % settings.validate_every == 0 or state.step == settings.steps):
            shown.echo(validate())
        if leads and now - saved > settings.save_minutes * 60:
            state.save(folder, config)
            saved = now
    state.seconds = before + time.monotonic() - begin
    shown.close()
    if leads:
        state.save(folder, config)
    if leads and state.step < settings.steps:
        print(f"stopped at step {state.step} of {settings.steps}; the same command goes on", file=sys.stderr)
    return state.step >= settings.steps
