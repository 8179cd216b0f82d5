# SPDX-License-Identifier: Apache-2.0
"""The loop of any training: when it saves, validates, speaks and ends; its schedule; its average."""

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus.optim.average import MovingAverage
from isthmus.optim.checkpoint import POINTER, TrainingState
from isthmus.optim.loop import LoopSettings, Report, run_loop
from isthmus.optim.schedule import warmup_cosine

CPU = torch.device("cpu")


class Counting:
    """A training of one number."""

    def __init__(self) -> None:
        modules = nn.ModuleDict({"a": nn.Linear(1, 1)})
        self.average = MovingAverage(modules, 0.9)
        optimizer = torch.optim.AdamW(modules.parameters())
        self.state = TrainingState(modules, self.average.tensors, optimizer)
        self.validated: list[int] = []

    def step(self) -> Report:
        self.state.optimizer.zero_grad()
        self.state.modules["a"](torch.ones(1, 1)).sum().backward()
        self.state.optimizer.step()
        self.state.step += 1
        self.average.update(self.state.step)
        return lambda: f"at {self.state.step}"

    def validate(self) -> str:
        self.validated.append(self.state.step)
        return "fine"

    def run(self, folder: Path, settings: LoopSettings) -> bool:
        return run_loop(self.state, self.step, folder, {"a": 1}, settings, device=CPU, validate=self.validate)


def test_validates_at_the_start_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    one = Counting()
    assert one.run(tmp_path, LoopSettings(7, validate_every=3))
    assert one.validated == [0, 3, 6, 7] and one.state.devices[0].startswith("CPU") and one.state.seconds > 0
    again = Counting()
    assert again.run(tmp_path, LoopSettings(7, validate_every=3)) and again.validated == []
    assert again.state.step == 7


def test_stops_after_its_time_and_goes_on(tmp_path: Path) -> None:
    one = Counting()
    assert not one.run(tmp_path, LoopSettings(5, minutes=0.0))
    assert one.state.step == 0 and (tmp_path / POINTER).exists()
    other = Counting()
    assert other.run(tmp_path, LoopSettings(5)) and other.state.step == 5


def test_a_line_now_and_then_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("isthmus.progress.EVERY", 0.0)
    one = Counting()
    whole_step = one.step

    def slow() -> Report:
        time.sleep(0.01)
        return whole_step()

    monkeypatch.setattr(one, "step", slow)
    one.run(tmp_path, LoopSettings(3))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("isthmus: 1 of 3 steps, 33 %, ") and ", at 1, " in lines[0]
    assert lines[-1] == "isthmus: 3 of 3 steps, 100 %, at 1"


def test_schedule() -> None:
    factors = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1, abs=0.03)
    assert factors[10:] == sorted(factors[10:], reverse=True) and factors[100] == pytest.approx(0.01)
    assert warmup_cosine(5, 0, 1, least=0.2) == pytest.approx(0.2)


def test_average_follows() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
        average = MovingAverage(module, 0.5)
        module.weight.fill_(1.0)
    found = []
    for step in range(1, 40):
        average.update(step)
        found.append(float(average.tensors["weight"]))
    assert found == sorted(found) and found[0] == pytest.approx(10 / 11) and found[-1] == pytest.approx(1)
