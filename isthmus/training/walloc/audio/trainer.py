# SPDX-License-Identifier: Apache-2.0
"""Training of WaLLoC codecs of sound: the network behind a fixed KLT, over all qualities at once, resumable.

Rates do not depend on what is trained, so the loss is distortion alone: of each crop, over the error that its linear
floor makes, so that every quality and every loudness counts alike.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from isthmus.codecs.walloc.audio.weights import check_audio_config
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig, quantize
from isthmus.optim.average import MovingAverage
from isthmus.optim.checkpoint import TrainingState
from isthmus.optim.loop import LoopSettings, Report, run_loop
from isthmus.optim.muon import muon_and_adamw, set_rates
from isthmus.optim.schedule import warmup_cosine
from isthmus.progress import each
from isthmus.training.data.sound import SoundBank
from isthmus.training.walloc.audio.klt import expected_error, initialize
from isthmus.training.walloc.audio.validation import rate_distortion
from isthmus.training.walloc.validation import append_csv, plot_csv, validation_levels

FIELDS = ["step", "seconds", "level", "kbit_per_second", "psnr", "psnr_of_floor"]
CROPS_OF_KLT, AT_ONCE = 2048, 64
QUIET = 0.1  # of the error that typical sound has, added to what a crop's is measured by: silence says nothing


@dataclass(frozen=True)
class AudioTrainingConfig:
    """The recipe of one training; two runs with the same recipe, data and device follow the same path."""

    model: WallocAudioConfig = field(default_factory=WallocAudioConfig)
    steps: int = 40_000
    batch: int = 64
    frames: int = 256  # of a crop
    seed: int = 0
    step_low: float = 0.2  # quantizer steps of the lowest and the highest quality, for sound of peak 0.5
    step_high: float = 0.008
    matrix_rate: float = 4e-3  # learning rates at the top of the cosine: the network's large matrices (Muon),
    network_rate: float = 1.2e-3  # what else it has (AdamW)
    warmup: int = 300
    average: float = 0.999  # decay of the moving average of the weights, which is what ships
    longest: int = 600  # seconds of a file that are trained on, from its middle
    context_steps: int = 1500  # of fitting the contexts, which do not depend on the network, nor on its `steps`,
    context_minutes: int = 30  # of the sound that they are fitted to, at most

    def check(self) -> None:
        """Raises ValueError for a recipe whose training could not begin, or not end in a codec."""
        check_audio_config(asdict(self.model))
        for name in ("steps", "batch", "frames", "longest", "context_steps", "context_minutes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected at least 1")
        for name in ("step_low", "step_high"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}, expected more than 0")
        if not 0 <= self.average <= 1:
            raise ValueError(f"average = {self.average}, expected 0 to 1")

    @property
    def quantizer_steps(self) -> list[float]:
        """One a gain level, logarithmic between the ends."""
        top = self.model.gain_levels - 1
        return [self.step_low * (self.step_high / self.step_low) ** (i / top) for i in range(top + 1)]

    @property
    def samples(self) -> int:
        """Of a crop."""
        return (self.frames + self.model.bank.analysis_blocks - 1) * self.model.factor


class AudioTrainer:
    """Everything of one training on one device; `run` does it. begun: a checkpoint follows, which has the KLT."""

    def __init__(
        self,
        config: AudioTrainingConfig,
        bank: SoundBank,
        validation: list[Tensor],
        compiled: bool,
        begun: bool = False,
    ) -> None:
        self.config, self.bank, self.validation = config, bank, validation
        self.device = bank.words.device
        self.generator = torch.Generator(self.device)
        torch.manual_seed(config.seed)  # of the initial weights
        self.model = WallocAudio(config.model).to(self.device)
        if not begun:
            self._begin_at_klt()
        self.model.requires_grad_(False)
        self.model.network.requires_grad_(True)
        network = self.model.network
        optimizer = muon_and_adamw(network, network.matrices(), (config.matrix_rate, config.network_rate), [])
        modules = nn.ModuleDict({"codec": self.model})
        self.average = MovingAverage(modules, config.average)
        self.state = TrainingState(modules, self.average.tensors, optimizer)
        self.loss: Callable[..., tuple[Tensor, Tensor]] = torch.compile(self._loss) if compiled else self._loss

    def _begin_at_klt(self) -> None:
        self.generator.manual_seed(self.config.seed)
        rounds = each(range(CROPS_OF_KLT // AT_ONCE), "batches", what="KLT: crops")
        crops = (self.bank.sample(AT_ONCE, self.config.samples, self.generator) for _ in rounds)
        initialize(self.model, crops, self.config.quantizer_steps)

    def _loss(self, bands: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the error over that of the floor, of bands [B, n, T] at gain levels [B]."""
        q = quantize(self.model.analyze(bands, level))
        missing = bands - self.model.synthesize_linear(q, level)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            found = self.model.residual(q, level)
        error = (missing - found.float()).square().mean((1, 2))
        floor = missing.square().mean((1, 2))
        loss = error / (floor + QUIET * expected_error(self.model, level))
        return loss.mean(), (error.sum() / floor.sum()).detach()

    def step(self) -> tuple[Tensor, Tensor]:
        """One optimizer step; its randomness depends on the seed and the step alone, so a resumed run goes on alike."""
        c, state = self.config, self.state
        self.generator.manual_seed((c.seed << 32) + state.step + 1)
        x = self.bank.sample(c.batch, c.samples, self.generator)
        bands = c.model.bank.analyze(x).flatten(1, 2)
        # Stratified levels: every batch covers the whole range of qualities.
        jitter = torch.rand(c.batch, device=self.device, generator=self.generator)
        level = (torch.arange(c.batch, device=self.device) + jitter) / c.batch * (c.model.gain_levels - 1)
        set_rates(state.optimizer, warmup_cosine(state.step, c.steps, c.warmup))
        loss, share = self.loss(bands, level)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.network.parameters(), 1.0)
        state.optimizer.step()
        state.step += 1
        self.average.update(state.step)
        return loss.detach(), share

    def averaged(self) -> WallocAudio:
        """A copy of the model with the averaged weights."""
        model = WallocAudio(self.config.model).to(self.device)
        model.load_state_dict({k[6:]: v for k, v in self.state.average.items() if k.startswith("codec.")})
        return model.eval()

    def validate(self, folder: Path) -> list[tuple[float, float, float, float]]:
        """Rate and PSNR of the averaged model and of its floor on the validation sounds; added to validation.csv."""
        levels = validation_levels(self.config.model.gain_levels)
        points = rate_distortion(self.averaged(), self.validation, levels)
        append_csv(folder / "validation.csv", self.state.step, self.state.seconds, points, FIELDS)
        plot_csv(folder / "validation.csv", folder / "validation.png", FIELDS[3], "kbit/s")
        return points

    def run(self, folder: Path, settings: LoopSettings | None = None, *, data: str = "") -> bool:
        """Trains until the last step, or for some minutes; True when the training is complete.

        data: what tells the training sounds from others, kept in the checkpoint: a run goes on with the same ones.
        """
        config = {**asdict(self.config), "data": data}
        settings = settings or LoopSettings(self.config.steps)
        validate = (lambda: describe(self.state.step, self.validate(folder))) if self.validation else None
        return run_loop(self.state, self._shown_step, folder, config, settings, device=self.device, validate=validate)

    def _shown_step(self) -> Report:
        loss, share = self.step()
        return lambda: f"loss {loss:.4f}, {-10 * math.log10(share):.2f} dB above the floor"


def describe(step: int, points: list[tuple[float, float, float, float]]) -> str:
    """One line of a validation: kbit/s, dB and what of it is above the floor, of each level."""
    return f"step {step}: " + ", ".join(
        f"{rate:.1f} kbit/s {psnr:.2f} ({psnr - floor:+.2f}) dB" for _, rate, psnr, floor in points
    )
