# SPDX-License-Identifier: Apache-2.0
"""What several tests share: the photograph that ships, and a codec so small that making it takes a moment."""

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.cli import main
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.codecs.walloc.weights import save_weights
from isthmus.media.image import read_image, write_image
from isthmus.models.rate import LogisticMixture
from isthmus.models.walloc.image import Walloc, WallocConfig
from isthmus.models.walloc.linear import WallocLinear
from isthmus.models.wavelet_packet import analyze_packet
from isthmus.samples import ASTRONAUT
from isthmus.training.data.crops import load_rgb
from isthmus.training.walloc.context import fit_context
from isthmus.training.walloc.klt import initialize
from isthmus.training.walloc.tables import fit_factorized
from tests.kernels.tiers import compiled

# A job in the background of a script ignores these, and so would what it starts.
for _name in ("SIGINT", "SIGHUP", "SIGTERM"):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def kernels_are_compiled() -> Iterator[None]:
    """What tests see does not depend on what numba's cache holds; those of `tier` say otherwise."""
    with compiled():
        yield


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The shipped photograph, uint8 [512, 512, 3]."""
    return read_image(ASTRONAUT)


@pytest.fixture(scope="session", params=["walloc-image-f8c12", "walloc-image-f8c48"])
def shipped(request: pytest.FixtureRequest) -> WallocImageCodec:
    """Each codec that ships."""
    codec = isthmus.load(request.param)
    assert isinstance(codec, WallocImageCodec)
    return codec


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A weights file: 5 channels, one block of width 8, KLT linear layers, a network that does a little."""
    folder = tmp_path_factory.mktemp("tiny")
    crops = [astronaut[y : y + 96, x : x + 96] for y, x in ((60, 180), (300, 100))]
    for number, crop in enumerate(crops):
        write_image(folder / f"{number}.png", crop)
    torch.manual_seed(3)
    model = Walloc(WallocConfig(latent_channels=5, width=8, blocks=1, gain_levels=4))
    samples = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    initialize(model, LogisticMixture(4, 5), analyze_packet(samples, 3), [0.0008, 0.004, 0.03, 0.2])
    torch.nn.init.normal_(model.network.output.weight, std=0.02)
    linear, images = WallocLinear.of(model), [load_rgb(path) for path in sorted(folder.glob("*.png"))]
    context = fit_context(linear.analyzer(), images, device=torch.device("cpu"), steps=12)
    save_weights(folder / "tiny.safetensors", model, fit_factorized(linear, images), context)
    return folder / "tiny.safetensors"


@pytest.fixture(scope="session")
def tiny(tiny_weights: Path) -> WallocImageCodec:
    codec = isthmus.load(str(tiny_weights))
    assert isinstance(codec, WallocImageCodec)
    return codec


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: status, standard output, standard error."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() sets its own
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isthmus", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call
