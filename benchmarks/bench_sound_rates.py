# SPDX-License-Identifier: Apache-2.0
"""Rates of the codecs of sound against their floors, at equal PSNR, on recordings that no training saw.

    python benchmarks/bench_sound_rates.py FOLDER... --train TRAINING_FOLDER [--minutes 12] [--output FILE.json]

A floor is what needs no network: the KLT of the bands fitted on the training folder, uniform steps with an offset of
0.40, and a context model fitted to that (rates are its real payloads); once with an MDCT of 256 bands and once with
wavelet packets. Ours are whole streams, decoded without noise filling as PSNR has it, the levels of noise in the rate.
Also: ours with noise filling in log-mel distance, and what contexts save against the order-0 entropy of each recording
and channel. Each FOLDER is a row of its own; DC removed, peak scaled to 0.5, means of dB over recordings.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.bench.bd_rate import Pchip, monotone_points
from isthmus.bench.kinds.audio import prepare
from isthmus.bench.metrics.audio import log_mel, psnr
from isthmus.bench.peers.ffmpeg import ffmpeg_codecs
from isthmus.entropy.models.causal import CausalModel
from isthmus.kernels.resample.resampler import mirrored
from isthmus.media import audio
from isthmus.media.kinds import list_files
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig
from isthmus.models.walloc.audio_linear import AudioLinear
from isthmus.training.data.sound import SoundBank, pair_of, read_all
from isthmus.training.walloc.audio.context import KNOTS, UNIT_FRAMES, count_tables, fit_taps, latents_of, to_integers
from isthmus.training.walloc.audio.klt import initialize
from isthmus.training.walloc.audio.run import pieces_of
from isthmus.training.walloc.audio.trainer import AudioTrainingConfig
from isthmus.training.walloc.recipes import RECIPES
from isthmus.training.walloc.validation import order0_bits

CODECS = ("walloc-audio-f256c27", "walloc-audio-f256c108")
QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
OFFSET = 0.4
RATE = 44_100


def rounded(y: np.ndarray) -> np.ndarray:
    return np.clip(np.sign(y) * np.floor(np.abs(y) + OFFSET), -32768, 32767).astype(np.int16)


class Floor:
    """KLT, steps and contexts of one transform, no network."""

    def __init__(self, name: str, transform: str, train: list[np.ndarray], steps: int) -> None:
        recipe: Any = RECIPES[name]
        model = WallocAudio(WallocAudioConfig(recipe.model.latent_channels, transform=transform, blocks=1, width=8))
        crops = [torch.from_numpy(x[None, :, :66_048]) for x in train if x.shape[1] >= 66_048]
        initialize(model, crops, recipe.quantizer_steps)
        self.linear = AudioLinear.from_state(model.config, model.state_dict())
        planes = [[rounded(y) for y in latents_of(self.linear, x)] for x in train]
        predictor = to_integers(fit_taps(planes, UNIT_FRAMES, torch.device("cpu"), steps, 40, 0))
        first = CausalModel(predictor, count_tables(predictor, planes, UNIT_FRAMES, None))
        self.model = CausalModel(predictor, count_tables(predictor, planes, UNIT_FRAMES, first))

    def point(self, sound: np.ndarray, quality: int) -> dict[str, float]:
        """kbit/s and PSNR of a pair [2, T]."""
        linear, bank = self.linear, self.linear.config.bank
        frames = bank.frames(sound.shape[1])
        low, high = (n * bank.hop for n in bank.needs(0, frames))
        q = rounded(linear.analyze(np.ascontiguousarray(sound[:, mirrored(low, high, sound.shape[1])]), quality))
        size = sum(
            len(self.model.encode(np.ascontiguousarray(q[:, i : i + UNIT_FRAMES]), quality))
            for i in range(0, frames, UNIT_FRAMES)
        )
        back = linear.synthesize((q * linear.step(quality)[:, None]).astype(np.float32))[:, : sound.shape[1]]
        seconds = sound.shape[1] / RATE
        return {
            "kbps": 8e-3 * size / seconds,
            "order0": order0_bits(torch.from_numpy(q)) / seconds / 1000,
            "psnr": psnr(sound, back),
        }


def ours(codec: Any, sound: np.ndarray, rate: int, quality: int) -> dict[str, float]:
    """One stream."""
    data = codec.encode(sound, sample_rate=rate, quality=quality)
    plain, full = (codec.decode(data, output="numpy", noise=noise) for noise in (False, True))
    seconds = sound.shape[1] / rate
    return {
        "kbps": 8e-3 * len(data) / seconds,
        "order0": order0_bits(codec.unpack(data).planes["y"]) / seconds / 1000,
        "psnr": psnr(sound, plain),
        "psnr_noise": psnr(sound, full),
        "log_mel": log_mel(sound, plain, rate),
        "log_mel_noise": log_mel(sound, full, rate),
    }


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}


def saving(points: list[dict[str, float]], floor: list[dict[str, float]]) -> list[dict[str, float]]:
    """Rate of each point against that of the floor at the same PSNR, in percent, where the floor reaches it."""
    value, rate = monotone_points([p["psnr"] for p in floor], [np.log(p["kbps"]) for p in floor])
    curve = Pchip(value, rate)
    found = []
    for p in points:
        if value[0] <= p["psnr"] <= value[-1]:
            there = float(np.exp(curve([p["psnr"]])[0]))
            found.append(
                {
                    "psnr": p["psnr"],
                    "kbps": p["kbps"],
                    "floor": round(there, 3),
                    "percent": round(100 * (p["kbps"] / there - 1), 1),
                }
            )
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--train", type=Path, required=True, help="sound to fit the floors on")
    parser.add_argument("--minutes", type=int, default=12, help="of it that are used")
    parser.add_argument("--steps", type=int, default=900, help="of fitting the floors' contexts")
    parser.add_argument("--peers", action="store_true", help="MP3, Opus and AAC too")
    parser.add_argument("--output", type=Path, default=RESULTS / "sound_rates.json")
    arguments = parser.parse_args()
    bank = SoundBank(read_all(list_files(arguments.train, "audio", recursive=True), 60), 66_048, torch.device("cpu"))
    train = pieces_of(bank, AudioTrainingConfig(context_minutes=arguments.minutes))
    result: dict[str, Any] = {**facts(), "sets": {}}
    floors = {n: {t: Floor(n, t, train, arguments.steps) for t in ("mdct", "packets")} for n in CODECS}
    for folder in arguments.folders:
        files = list_files(folder, "audio")
        sounds = [prepare(*audio.read(f, {})) for f in files]
        report: dict[str, Any] = {"files": [f.name for f in files], "codecs": {}}
        for name in CODECS:
            codec = isthmus.load(name)
            points = [mean([ours(codec, x, t["sample_rate"], q) for x, t in sounds]) for q in QUALITIES]
            entry: dict[str, Any] = {"ours": points}
            pairs = [pair_of(x) for x, _ in sounds]
            for transform, floor in floors[name].items():
                curve = [mean([floor.point(np.ascontiguousarray(x), q) for x in pairs]) for q in KNOTS]
                entry[transform] = {"floor": curve, "saving": saving(points, curve)}
            report["codecs"][name] = entry
            print(folder.name, name)
            for p in points:
                print(
                    "  ",
                    " ".join(f"{k} {v:.2f}" for k, v in p.items()),
                    f"contexts {100 * (p['kbps'] / p['order0'] - 1):.1f} %",
                )
            for transform in floors[name]:
                told = [f"{s['psnr']:.1f} dB {s['percent']:+.1f} %" for s in entry[transform]["saving"]]
                print(f"   against the floor of {transform}: {', '.join(told)}")
        if arguments.peers:
            for peer in ffmpeg_codecs()[0]:
                rows = []
                for quality in peer.qualities:
                    each = []
                    for x, t in sounds:
                        data = peer.encode(x, quality=quality, **t)
                        back = peer.decode_like(data, x, **t)
                        seconds = x.shape[1] / t["sample_rate"]
                        each.append(
                            {
                                "kbps": 8e-3 * len(data) / seconds,
                                "psnr": psnr(x, back),
                                "log_mel": log_mel(x, back, t["sample_rate"]),
                            }
                        )
                    rows.append(mean(each))
                report["codecs"][peer.name] = rows
                print(
                    folder.name,
                    peer.name,
                    ", ".join(f"{p['kbps']:.1f}: {p['psnr']:.2f}, {p['log_mel']:.2f}" for p in rows),
                )
        result["sets"][folder.name] = report
    write_json(arguments.output, result)


if __name__ == "__main__":
    main()
