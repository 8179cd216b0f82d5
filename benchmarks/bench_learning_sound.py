# SPDX-License-Identifier: Apache-2.0
"""What a tagger learns from latents of sound, from sound at a lower rate and from log-mel, by the same head and loop.

    python benchmarks/bench_learning_sound.py CLIPS [--validation CLIPS] [--arrays FILE.npz] [--seeds 3]
        [--epochs 60] [--device cuda] [--output FILE.json]

CLIPS: a folder of class folders of sounds. Without --validation, what stands before the first "-" of a file's name is
its fold, as in ESC-10 and ESC-50: each fold is judged by heads that were trained on all others. All clips are mixed to
one channel, brought to one peak and cut or filled to five seconds; each input is 862 tokens, one for 256 samples:
latents of walloc-audio-f256c27 and c108 (27 and 108 numbers a token), the sound resampled so that as many samples fall
on a token (4.7 and 18.6 kHz), and log-mel spectra of 64 and 128 bands (windows of 1024 and 2048). One recipe for all:
random stretches of 690 tokens, MixUp and CutMix. Two heads, as neither is best for all: sound-s, and the same whose
logarithm of sizes is as that of images' heads ("coarse": fine = 1 instead of 10). Accuracies are over all judged
clips, mean and deviation over seeds, with paired bootstrap intervals (their means over seeds) between all rows.

--arrays keeps the inputs, or reads them where they are: a machine with a GPU needs neither sounds nor codecs.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from shared.learning import Grids, train
from shared.measurement import RESULTS, facts, write_json
from shared.sound_inputs import joined, read_clips, write_inputs

from isthmus.models.heads import HEADS
from isthmus.models.heads.convnext import ConvNextClassifier
from isthmus.training.heads import HeadRecipe
from isthmus.training.heads.evaluation import Evaluated
from isthmus.training.heads.tagging import SOUND
from isthmus.training.heads.tagging.task import OneClass

HELD = "validation"  # the fold that is judged where there is a folder of its own
COARSE = "sound-s, coarse"
HEADS[COARSE] = (ConvNextClassifier, replace(HEADS["sound-s"][1], fine=1.0))


def folds_of(names: np.ndarray) -> np.ndarray:
    """By file: what stands before the first "-" of its name."""
    return np.array([Path(name).name.split("-")[0] for name in names])


def judged(
    values: np.ndarray, step: np.ndarray, labels: np.ndarray, folds: np.ndarray, recipe: HeadRecipe, device: str
) -> tuple[Evaluated, float]:
    """All judged clips, in the order of folds, by heads that saw none of their fold; and samples a second."""
    parts, speeds = [], []
    for fold in [HELD] if HELD in folds else np.unique(folds):
        seen, kept = folds != fold, folds == fold
        data = Grids(values[seen], labels[seen], step=step)
        held = Grids(values[kept], labels[kept], data, step)
        part, speed = train(data, held, recipe, int(labels.max()) + 1, device, OneClass)
        parts.append(part)
        speeds.append(speed)
    arrays = [np.concatenate([getattr(p, name) for p in parts]) for name in ("right", "among", "labels", "predicted")]
    right, among, truth, predicted = arrays
    loss = float(np.average([p.loss for p in parts], weights=[len(p.right) for p in parts]))
    return Evaluated(right, among, loss, truth, predicted), float(np.median(speeds))


def row_of(key: tuple[str, str], numbers: int, size: float, found: dict[tuple[str, str], list[Evaluated]]) -> Any:
    """What one input came to with one head, and what it gained over every other row so far."""
    accuracies = np.array([one.accuracy for one in found[key]])
    gains = {
        " by ".join(other): np.mean([a.against(b) for a, b in zip(found[key], seeds, strict=True)], 0).tolist()
        for other, seeds in found.items()
        if other != key
    }
    return {
        "input": key[0], "head": key[1], "numbers": numbers, "bytes": size, "accuracies": accuracies.tolist(),
        "mean": float(accuracies.mean()), "deviation": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else None,
        "loss": float(np.mean([one.loss for one in found[key]])), "gain_over": gains,
    }  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--arrays", type=Path)
    parser.add_argument("--heads", nargs="+", default=["sound-s", COARSE])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=SOUND.epochs)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS / "learning_sound.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        arrays = given.arrays or Path(work) / "inputs.npz"
        if not arrays.exists():
            clips = read_clips(given.clips)
            write_inputs(arrays, joined(clips, read_clips(given.validation), HELD) if given.validation else clips)
        kept = dict(np.load(arrays))
    labels, folds = kept["labels"], kept["folds"] if "folds" in kept else folds_of(kept["names"])
    if len(np.unique(folds)) < 2:
        parser.error(
            f"all clips are of fold {folds[0]!r}: expected names as 1-17367-A.ogg of two folds, or --validation"
        )
    found: dict[tuple[str, str], list[Evaluated]] = {}
    rows: list[dict[str, Any]] = []
    for name in [key.removesuffix("/values") for key in kept if key.endswith("/values")]:
        values, step, size = (kept[f"{name}/{what}"] for what in ("values", "step", "bytes"))
        for head in given.heads:
            for seed in range(given.seeds):
                recipe = replace(SOUND, head=head, epochs=given.epochs, seed=seed)
                one, speed = judged(values, step, labels, folds, recipe, given.device)
                found.setdefault((name, head), []).append(one)
            rows.append({**row_of((name, head), values.shape[1], float(size), found), "samples_per_second": speed})
            each = np.round(100 * np.array(rows[-1]["accuracies"]), 1)
            print(f"{name}, {head}: {100 * rows[-1]['mean']:.1f} % {each}", flush=True)
            told = {"epochs": given.epochs, "judged": len(one.right), "rows": rows}
            write_json(given.output, {**facts(), "clips": given.clips.name, **told})  # what is done is kept


if __name__ == "__main__":
    main()
