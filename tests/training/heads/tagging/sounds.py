# SPDX-License-Identifier: Apache-2.0
"""Sounds of two classes that differ at a glance, hiss and hum, and a table that gives each several tags."""

from pathlib import Path

import numpy as np

from isthmus.datasets import LatentDataset, transcode
from isthmus.media import audio
from isthmus.signals import AudioSignal

CODEC, RATE = "walloc-audio-f256c27", 8000


def sounds(folder: Path, count: int, seed: int) -> Path:
    """hiss/N.wav and hum/N.wav, half a second to a second, and list.csv of them with columns tags and empty."""
    random, lines = np.random.default_rng(seed), ["path,tags,empty"]
    for number in range(count):
        for name in ("hiss", "hum"):
            length = int(random.integers(RATE // 2, RATE))
            noise = random.standard_normal(length)
            hum = np.sin(np.arange(length) * random.uniform(0.1, 0.3))
            sound = (0.2 * noise if name == "hiss" else 0.4 * hum + 0.001 * noise)[None].astype(np.float32)
            path = folder / name / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, sound, AudioSignal(RATE, 1, length))
            tags = {"hiss": "Noise; Wind" if number % 2 else "Noise", "hum": "Tone,Motor"}[name]
            lines.append(f'{name}/{number}.wav,"{tags if number else ""}",')
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder


def heard(folder: Path, count: int, seed: int, *, table: bool = False) -> LatentDataset:
    """Latents of such sounds: of class folders, or of the table."""
    source = sounds(folder / "sounds", count, seed)
    given = source / "list.csv" if table else source
    transcode(given, folder / "latents", codec=CODEC, workers=0, progress=False)
    return LatentDataset(folder / "latents")
