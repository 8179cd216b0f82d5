# SPDX-License-Identifier: Apache-2.0
"""The picture of a comparison of sounds: a column each; waveform, log-mel spectrogram, and the difference of that."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from isthmus.bench.metrics.audio import FLOOR, HOP, WINDOW, mel_matrix

LOWEST, LARGEST = -80, 30  # dB: of what is shown, and of differences
POINTS = 4000  # of a waveform
EXPLANATION = (
    f"To the right: what differs\nfrom the original, blue for\ntoo little, red for too\nmuch, to {LARGEST} dB."
)


def log_mel_image(sound: np.ndarray, sample_rate: int, top: float) -> np.ndarray:
    """dB of the mean of channels, by mel band up to `top` Hz and frame: float32 [80, frames]."""
    x = torch.from_numpy(sound.mean(0))
    if len(x) < WINDOW:
        x = torch.nn.functional.pad(x, (0, WINDOW - len(x)))
    hann = torch.hann_window(WINDOW)
    spectrum = torch.stft(x, WINDOW, HOP, window=hann, return_complex=True)
    power = mel_matrix(sample_rate, top) @ (spectrum.real.square() + spectrum.imag.square()) / hann.square().sum()
    found: np.ndarray = (10 * (power + FLOOR).log10()).numpy()
    return found


def draw_sheet(
    sounds: Mapping[str, np.ndarray], heads: Mapping[str, Sequence[str]], sample_rate: int, title: str, top: float
) -> bytes:
    """A PNG of sounds float32 [C, T], the original first; heads: lines of text below each name; top: Hz shown."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images = {name: log_mel_image(sound, sample_rate, top) for name, sound in sounds.items()}
    first = next(iter(sounds))
    seconds = max(1e-6, sounds[first].shape[1] / sample_rate)
    figure, axes = plt.subplots(
        3, len(sounds), figsize=(4.6 * len(sounds), 7.6), squeeze=False, height_ratios=(0.6, 1, 1), layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=14)
    for column, (name, sound) in enumerate(sounds.items()):
        wave, mel, lost = axes[:, column]
        wave.set_title("\n".join([name, *heads[name]]), fontsize=10)
        shown = sound.mean(0)[:: max(1, sound.shape[1] // POINTS)]
        wave.plot(np.linspace(0, seconds, len(shown)), shown, linewidth=0.4)
        wave.set(ylim=(-1, 1), xlim=(0, seconds))
        powers = mel.imshow(
            images[name], origin="lower", aspect="auto", vmin=LOWEST, vmax=0, extent=(0, seconds, 0, 80), cmap="magma"
        )
        mel.set(yticks=[])
        if column == 0:
            wave.set_ylabel("waveform")
            mel.set_ylabel(f"log-mel spectrogram, to {top / 1000:g} kHz")
            lost.axis("off")
            lost.text(
                0,
                0.5,
                EXPLANATION,
            )
            continue
        apart = lost.imshow(
            images[name] - images[first], origin="lower", aspect="auto", vmin=-LARGEST, vmax=LARGEST,
            extent=(0, seconds, 0, 80), cmap="seismic",
        )  # fmt: skip
        lost.set(yticks=[], xlabel="seconds")
    figure.colorbar(powers, ax=axes[1, -1], label="dB")
    if len(sounds) > 1:
        figure.colorbar(apart, ax=axes[2, -1], label="dB")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    plt.close(figure)
    return buffer.getvalue()
