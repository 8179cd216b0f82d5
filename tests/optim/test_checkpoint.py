# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: whole or absent, refused when the settings differ, exact when taken up."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus.optim.checkpoint import POINTER, TrainingState

CONFIG = {"steps": 4, "model": {"width": 8}}


def make_state() -> TrainingState:
    modules = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.BatchNorm1d(2)})
    average = {k: v.detach().clone() for k, v in modules.state_dict().items() if v.is_floating_point()}
    optimizer = torch.optim.AdamW([{"params": modules["a"].parameters()}, {"params": modules["b"].parameters()}])
    return TrainingState(modules, average, optimizer)


def train(state: TrainingState, steps: int) -> None:
    for _ in range(steps):
        torch.manual_seed(state.step)
        state.optimizer.zero_grad()
        state.modules["b"](state.modules["a"](torch.randn(8, 3))).square().mean().backward()
        state.optimizer.step()
        for key, value in state.average.items():
            value.lerp_(state.modules.state_dict()[key], 0.1)
        state.step += 1


def tensors(state: TrainingState) -> dict[str, torch.Tensor]:
    return {
        **state.modules.state_dict(),
        **{f"average.{k}": v for k, v in state.average.items()},
        **state._optimizer_tensors(),
    }


def test_taking_up_a_checkpoint_is_exact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = make_state()
    train(state, 3)
    state.seconds, state.devices = 12.34, ["a device"]
    state.save(tmp_path / "run", CONFIG)
    other = make_state()
    assert other.load(tmp_path / "run", CONFIG)
    assert (other.step, other.seconds, other.devices) == (3, 12.3, ["a device"])
    for s in (state, other):
        train(s, 2)
    found, expected = tensors(other), tensors(state)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_only_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    state = make_state()
    for _ in range(3):
        train(state, 1)
        state.save(tmp_path, CONFIG)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {POINTER, "step-0000003.model.safetensors", "step-0000003.optimizer.safetensors"}
    assert json.loads((tmp_path / POINTER).read_text())["step"] == 3
    assert len({p.stat().st_mode for p in tmp_path.iterdir()}) == 1  # all by the user's umask


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state()
    train(state, 1)
    state.save(tmp_path, CONFIG)
    before = {k: v.clone() for k, v in tensors(state).items()}
    train(state, 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.optim.checkpoint.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        state.save(tmp_path, CONFIG)
    other = make_state()
    assert other.load(tmp_path, CONFIG) and other.step == 1
    assert all(torch.equal(v, before[k]) for k, v in tensors(other).items())


def test_other_settings_are_refused(tmp_path: Path) -> None:
    state = make_state()
    assert not state.load(tmp_path, CONFIG)
    assert not state.load(tmp_path / "absent", CONFIG)
    train(state, 1)
    state.save(tmp_path, CONFIG)
    with pytest.raises(ValueError, match=r"other settings \(steps\)"):
        make_state().load(tmp_path, CONFIG | {"steps": 5})
    with pytest.raises(ValueError, match="model"):
        make_state().load(tmp_path, CONFIG | {"model": {"width": 9}})
