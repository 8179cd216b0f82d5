# SPDX-License-Identifier: Apache-2.0
"""Clips of sound as latents, as samples at a lower rate and as log-mel spectra: a token each 256 samples of all."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from isthmus.datasets import LatentDataset, transcode
from isthmus.kernels.resample.resampler import resample
from isthmus.media import audio
from isthmus.signals import AudioSignal

CODECS = ("walloc-audio-f256c27", "walloc-audio-f256c108")
FRAME, RATE = 256, 44_100  # samples of a token, Hz
PEAK = 0.5  # of each clip, as codecs scale to their own: none learns from loudness what another does not see
MELS = {64: 1024, 128: 2048}  # bands: samples of a window, of which one begins each 256
FLOOR, MEL_STEP = 1e-8, 1 / 256  # of powers; of their logarithms, which are kept as integers


@dataclass(frozen=True)
class Clips:
    """samples: float32 [n, T] of one channel at 44.1 kHz, T a multiple of 256; names: paths below the folder; folds:
    of each, where names do not tell it."""

    samples: np.ndarray
    labels: np.ndarray
    names: list[str]
    classes: list[str]
    folds: list[str] | None = None


def read_clips(folder: Path, seconds: float = 5.0) -> Clips:
    """Clips in class folders: mixed to one channel, cut or filled with zeros to one length, of one peak."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    count = int(seconds * RATE) // FRAME * FRAME
    samples, labels, names = [], [], []
    for number, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            sound, told = audio.read(path, {})
            if told["sample_rate"] != RATE:
                sound = resample(sound, told["sample_rate"], RATE)
            mono = sound.mean(0)[:count]
            mono -= mono.mean()
            mono *= PEAK / max(1e-9, float(np.abs(mono).max()))
            samples.append(np.pad(mono, (0, count - len(mono))))
            labels.append(number)
            names.append(f"{name}/{path.name}")
    return Clips(np.stack(samples), np.array(labels), names, classes)


def joined(one: Clips, held: Clips, fold: str) -> Clips:
    """Both, the second as a fold of that name. Raises ValueError for other classes."""
    if one.classes != held.classes:
        raise ValueError(f"classes {held.classes}, expected those that are trained on, {one.classes}")
    folds = ["train"] * len(one.names) + [fold] * len(held.names)
    samples, labels = np.concatenate([one.samples, held.samples]), np.concatenate([one.labels, held.labels])
    return Clips(samples, labels, one.names + held.names, one.classes, folds)


def latents(clips: Clips, codec: str) -> tuple[np.ndarray, np.ndarray, float]:
    """int16 [n, c, T / 256 + 1], steps [c], and bytes a clip."""
    with tempfile.TemporaryDirectory() as work:
        for number, sound in enumerate(clips.samples):
            path = Path(work) / "clips" / f"{number:06d}.wav"
            path.parent.mkdir(exist_ok=True)
            audio.write(path, sound[None], AudioSignal(RATE, 1, len(sound)))
        report = transcode(path.parent, Path(work) / "latents", codec=codec, workers=0, progress=False)
        data = LatentDataset(Path(work) / "latents")
        planes = torch.stack([data[place]["y"] for place in range(len(data))])
        return planes.short().numpy(), data.scale.step["y"].flatten().numpy(), report.bytes_out / report.count


def resampled(clips: Clips, numbers: int) -> tuple[np.ndarray, np.ndarray, float]:
    """As many samples a token, at 44100 numbers / 256 Hz: int16 [n, numbers, T / 256 + 1], steps, bytes a clip."""
    padded = np.pad(clips.samples, ((0, 0), (0, FRAME)))
    tokens = padded.shape[1] // FRAME
    low = np.stack([resample(sound[None], FRAME, numbers)[0, : tokens * numbers] for sound in padded])
    values = np.clip(np.rint(low * 32767), -32768, 32767).astype(np.int16)
    values = np.ascontiguousarray(values.reshape(len(low), tokens, numbers).transpose(0, 2, 1))
    return values, np.full(numbers, 1 / 32767, np.float32), 2.0 * tokens * numbers


def log_mel(clips: Clips, bands: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Logarithms of powers: int16 [n, bands, T / 256 + 1], steps, bytes a clip as they are kept here."""
    window = MELS[bands]
    mel, hann = mel_triangles(bands, window), torch.hann_window(window)
    found = []
    for sound in clips.samples:
        spectrum = torch.stft(torch.from_numpy(sound), window, FRAME, window=hann, return_complex=True)
        power = mel @ spectrum.abs().square() / hann.square().sum()
        found.append(((power + FLOOR).log() / MEL_STEP).round().short().numpy())
    values = np.stack(found)
    return values, np.full(bands, MEL_STEP, np.float32), 2.0 * values[0].size


def mel_triangles(bands: int, window: int) -> torch.Tensor:
    """Triangles of unit sum, equally spaced in mel (O'Shaughnessy) from 0 to 22050 Hz: [bands, window / 2 + 1]."""
    top = RATE / 2
    edges = 700 * (np.logspace(0, np.log10(1 + top / 700), bands + 2) - 1)[:, None]
    f = np.linspace(0, top, window // 2 + 1)
    rise, fall = (f - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - f) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rise, fall), 0) + 1e-9
    return torch.from_numpy(triangles / triangles.sum(1, keepdims=True)).float()


def write_inputs(path: Path, clips: Clips, counts: Sequence[int] = (27, 108)) -> None:
    """All inputs of clips in one npz: NAME/values, NAME/step, NAME/bytes; and labels, names, classes."""
    made = {f"resampled, {count} numbers": resampled(clips, count) for count in counts}
    made |= {f"latents, {codec}": latents(clips, codec) for codec in CODECS}
    made |= {f"log-mel, {bands} bands": log_mel(clips, bands) for bands in MELS}
    arrays = {"labels": clips.labels, "names": np.array(clips.names), "classes": np.array(clips.classes)}
    if clips.folds is not None:
        arrays["folds"] = np.array(clips.folds)
    for name, (values, step, size) in made.items():
        arrays |= {f"{name}/values": values, f"{name}/step": step, f"{name}/bytes": np.array(size)}
    np.savez_compressed(path, **arrays)
