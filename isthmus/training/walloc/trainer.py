# SPDX-License-Identifier: Apache-2.0
"""Training of WaLLoC image codecs: rate + lambda * MSE over all qualities at once, resumable, on CPU or CUDA."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.codecs.walloc.weights import check_config
from isthmus.models.rate import LogisticMixture
from isthmus.models.walloc.image import Walloc, WallocConfig, quantize
from isthmus.models.wavelet_packet import analyze_by_matrix, packet_matrix, synthesize_by_matrix
from isthmus.optim.average import MovingAverage
from isthmus.optim.checkpoint import TrainingState
from isthmus.optim.loop import LoopSettings, Report, run_loop
from isthmus.optim.muon import muon_and_adamw, set_rates
from isthmus.optim.schedule import warmup_cosine
from isthmus.training.data.crops import ImageBank
from isthmus.training.walloc.klt import initialize
from isthmus.training.walloc.validation import append_csv, plot_csv, rate_distortion, validation_levels


@dataclass(frozen=True)
class TrainingConfig:
    """The recipe of one training; two runs with the same recipe, data and device follow the same path."""

    model: WallocConfig = field(default_factory=WallocConfig)
    steps: int = 20_000
    batch: int = 48
    crop: int = 256  # pixels a side
    seed: int = 0
    lambda_low: float = 0.0015  # loss = bits per pixel + lambda * MSE (0..255); lowest and highest quality
    lambda_high: float = 0.15
    noise_fraction: float = 0.25  # of the steps with uniform noise for rounding; hard rounding after it
    matrix_rate: float = 4e-3  # learning rates at the top of the cosine: the network's large matrices (Muon),
    network_rate: float = 1.2e-3  # what else it has (AdamW, as the following),
    linear_rate: float = 2e-4
    gain_rate: float = 2e-3
    warmup: int = 300
    average: float = 0.998  # decay of the moving average of the weights, which is what ships
    context_steps: int = 3600  # of the context model, which is fitted to the finished codec

    def check(self) -> None:
        """Raises ValueError for a recipe whose training could not begin, or not end in a codec."""
        check_config(asdict(self.model))
        for name in ("steps", "batch", "context_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected at least 1")
        group = 1 << self.model.levels
        if self.crop < group or self.crop % group:
            raise ValueError(f"crop = {self.crop}, expected a multiple of {group}, the pixels of a latent position")
        for name in ("lambda_low", "lambda_high"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}, expected more than 0")
        for name in ("noise_fraction", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected 0 to 1")

    def lambdas(self, level: Tensor) -> Tensor:
        """lambda at real-valued gain levels; logarithmic between its ends."""
        t = level / (self.model.gain_levels - 1)
        return torch.exp(math.log(self.lambda_low) + t * math.log(self.lambda_high / self.lambda_low))

    def learning_factor(self, step: int) -> float:
        """Linear warm-up, then a half cosine to 1 % of the top."""
        return warmup_cosine(step, self.steps, self.warmup)


class CodecTrainer:
    """Everything of one training on one device; `run` does it."""

    def __init__(self, config: TrainingConfig, bank: ImageBank, validation: list[Tensor], compiled: bool) -> None:
        self.config, self.bank, self.validation = config, bank, validation
        self.device = bank.pixels.device
        matrix = packet_matrix(config.crop, config.model.levels)
        self.matrix = matrix.to(self.device)
        self.inverse = torch.linalg.inv(matrix.double()).float().to(self.device)
        self.generator = torch.Generator(self.device)
        torch.manual_seed(config.seed)  # of the initial weights
        self.model = Walloc(config.model)
        self.rate = LogisticMixture(config.model.gain_levels, config.model.latent_channels)
        modules = nn.ModuleDict({"codec": self.model, "rate": self.rate})
        self._begin_at_klt()
        modules.to(self.device)
        c = config
        linear = [*self.model.analysis.parameters(), *self.model.synthesis.parameters()]
        gains = [self.model.log_gain, self.model.log_step, *self.rate.parameters()]
        network = self.model.network
        groups: list[dict[str, Any]] = [
            {"params": linear, "lr": c.linear_rate, "weight_decay": 0.0},
            {"params": gains, "lr": c.gain_rate, "weight_decay": 0.0},
        ]
        optimizer = muon_and_adamw(network, network.matrices(), (c.matrix_rate, c.network_rate), groups)
        self.average = MovingAverage(modules, c.average)
        self.state = TrainingState(modules, self.average.tensors, optimizer)
        self.loss: Callable[..., tuple[Tensor, Tensor, Tensor]] = torch.compile(self._loss) if compiled else self._loss

    def _begin_at_klt(self) -> None:
        self.generator.manual_seed(self.config.seed)
        crops = [self.bank.sample(16, self.config.crop, self.generator) for _ in range(24)]
        bands = torch.cat([analyze_by_matrix(x, self.matrix, self.config.model.levels).cpu() for x in crops])
        levels = torch.arange(self.config.model.gain_levels).float()
        initialize(self.model, self.rate, bands, self.config.lambdas(levels).tolist())

    def _loss(self, x: Tensor, level: Tensor, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, bits per pixel [B] and MSE [B] of crops [B, 3, N, N] at gain levels [B]."""
        levels = self.config.model.levels
        y = self.model.analyze(analyze_by_matrix(x, self.matrix, levels), level)
        q = y + torch.rand_like(y) - 0.5 if noisy else quantize(y)
        bits_per_pixel = self.rate(q, level).sum((1, 2, 3)) / x[0, 0].numel()
        y_hat = self.model.dequantize(q, level)
        t = y_hat / self.model.deviation[:, None, None]  # type: ignore[index]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            residual = self.model.network(t.contiguous(memory_format=torch.channels_last), level)
        decoded = synthesize_by_matrix(self.model.synthesize_linear(y_hat) + residual.float(), self.inverse, levels)
        mse = (decoded - x).square().mean((1, 2, 3)) * 127.5**2
        lam = self.config.lambdas(level)
        return ((bits_per_pixel + lam * mse) / lam.sqrt()).mean(), bits_per_pixel.detach(), mse.detach()

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """One optimizer step; its randomness depends on the seed and the step alone, so a resumed run goes on alike."""
        c, state = self.config, self.state
        self.generator.manual_seed((c.seed << 32) + state.step + 1)
        torch.manual_seed((c.seed << 32) + state.step + 1)  # of the quantization noise
        x = self.bank.sample(c.batch, c.crop, self.generator)
        # Stratified levels: every batch covers the whole range of qualities.
        jitter = torch.rand(c.batch, device=self.device, generator=self.generator)
        level = (torch.arange(c.batch, device=self.device) + jitter) / c.batch * (c.model.gain_levels - 1)
        set_rates(state.optimizer, c.learning_factor(state.step))
        loss, bits_per_pixel, mse = self.loss(x, level, state.step < c.noise_fraction * c.steps)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.modules.parameters(), 5.0)
        state.optimizer.step()
        state.step += 1
        self.average.update(state.step)
        return loss.detach(), bits_per_pixel, mse

    def averaged(self) -> Walloc:
        """A copy of the model with the averaged weights."""
        model = Walloc(self.config.model).to(self.device)
        model.load_state_dict({k[6:]: v for k, v in self.state.average.items() if k.startswith("codec.")})
        return model.eval()

    def validate(self, folder: Path) -> list[tuple[float, float, float]]:
        """Rate and PSNR of the averaged model on the validation images; added to validation.csv and its plot."""
        levels = validation_levels(self.config.model.gain_levels)
        points = rate_distortion(self.averaged(), self.validation, levels)
        append_csv(folder / "validation.csv", self.state.step, self.state.seconds, points)
        plot_csv(folder / "validation.csv", folder / "validation.png")
        return points

    def run(self, folder: Path, settings: LoopSettings | None = None, *, data: str = "") -> bool:
        """Trains until the last step, or for some minutes; True when the training is complete.

        data: what tells the training images from others, kept in the checkpoint: a run goes on with the same ones.
        """
        config = {**asdict(self.config), "data": data}
        settings = settings or LoopSettings(self.config.steps)
        validate = (lambda: describe(self.state.step, self.validate(folder))) if self.validation else None
        return run_loop(self.state, self._shown_step, folder, config, settings, device=self.device, validate=validate)

    def _shown_step(self) -> Report:
        loss, bits_per_pixel, mse = self.step()
        return lambda: f"loss {loss:.3f}, {bits_per_pixel.mean():.3f} bpp, MSE {mse.mean():.1f}"


def describe(step: int, points: list[tuple[float, float, float]]) -> str:
    """One line of a validation: bits per pixel and dB of each level."""
    return f"step {step}: " + ", ".join(f"{rate:.3f} bpp {psnr:.2f} dB" for _, rate, psnr in points)
