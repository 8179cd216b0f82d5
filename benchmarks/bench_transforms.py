# SPDX-License-Identifier: Apache-2.0
"""What transforms of latents miss, against the latents of transformed photographs.

    python benchmarks/bench_transforms.py FOLDER --train TRAINING_FOLDER [--last 24] [--output FILE.json]

FOLDER: photographs that no codec was trained on, their last files, cut to 512x512, 504 and 500 pixels wide. Errors are
squared differences over the variance of the latents about their means, all channels together, in cells away from the
borders that a flip moves ("inside") and in the 6 cells at each of them ("border"). "floats": dequantized latents,
flipped, against those of the flipped photograph; "integers": rounded again. "quantizer": what rounding alone loses.
PSNR is that of what the linear synthesis shows, against the flipped photograph. "fitted": least squares over five cells
on the photographs of TRAINING_FOLDER, the least that a matrix can miss.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.klt_floor import read_rgb
from shared.measurement import RESULTS, facts, write_json
from torch import Tensor

import isthmus
from isthmus.codecs.base import Latent
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.datasets.transforms import CutMix, Resize
from isthmus.datasets.transforms import flips as flipping
from isthmus.datasets.transforms.analysis import Analysis, analysis_of
from isthmus.datasets.transforms.flips import flip
from isthmus.datasets.transforms.mirror import BORDER, REACH, mirror
from isthmus.media.kinds import list_files
from isthmus.models.wavelet_packet import analyze_packet, synthesize_packet

CODECS = ("walloc-image-f8c12", "walloc-image-f8c48")
QUALITIES = (50, 80)
Image = np.ndarray


class Sums:
    """Squared differences [c] over squared differences from `mean`, and counts of integers that differ."""

    def __init__(self, mean: Tensor) -> None:
        self.mean, self.error, self.whole = mean[:, None, None], torch.zeros_like(mean), torch.zeros_like(mean)

    def add(self, got: Tensor, true: Tensor) -> None:
        self.error += (got.double() - true).square().sum((1, 2))
        self.whole += (true.double() - self.mean).square().sum((1, 2))

    @property
    def total(self) -> float:
        return round(float(self.error.sum() / self.whole.sum()), 5)

    @property
    def channels(self) -> list[float]:
        return [round(float(x), 4) for x in self.error / self.whole]


class Subject:
    """A codec, what it makes of photographs, and what its linear synthesis shows of latents."""

    def __init__(self, name: str) -> None:
        codec = isthmus.load(name)
        assert isinstance(codec, WallocImageCodec)
        self.codec, self.linear, self.analysis = codec, codec.weights.linear, analysis_of(codec)

    def integers(self, image: Image, quality: int) -> Tensor:
        return torch.from_numpy(self.linear.analyze_image(image.transpose(2, 0, 1), quality))

    def dequantize(self, q: Tensor, quality: int) -> Tensor:
        return q.float() * self.analysis.step(quality).float()[:, None, None]

    def exact(self, image: Image) -> Tensor:
        """Latents that were not rounded, float64; sides are multiples of 8."""
        x = (torch.from_numpy(image.transpose(2, 0, 1).copy()).double() - 127.5) / 127.5
        bands = analyze_packet(x[None], 3)[0]
        weight = torch.from_numpy(self.linear.analysis_weight).double()
        return torch.einsum("cn,nhw->chw", weight, bands) + self.analysis.bias[:, None, None]

    def network_psnr(self, q: Tensor, image: Image, quality: int) -> float:
        latent = self.codec.analyze(image, quality=quality)
        shown = self.codec.synthesize(Latent({"y": q}, latent.spec, self.codec), output="numpy")
        return 10 * math.log10(255**2 / float(((shown.astype(np.float64) - image) ** 2).mean()))

    def psnr(self, y: Tensor, image: Image) -> float:
        weight, bias = (torch.from_numpy(x) for x in (self.linear.synthesis_weight, self.linear.synthesis_bias))
        bands = torch.einsum("nc,chw->nhw", weight, y.float()) + bias[:, None, None]
        shown = synthesize_packet(bands[None], 3)[0].permute(1, 2, 0)[: image.shape[0], : image.shape[1]]
        shown = (shown * 127.5 + 127.5).clamp(0, 255).round().numpy()
        return 10 * math.log10(255**2 / float(((shown - image) ** 2).mean()))


def flipped(subject: Subject, images: list[Image], quality: int, vertical: bool, mean: Tensor) -> dict[str, Any]:
    """How flips of latents compare with latents of flips."""
    kinds = ("floats inside", "floats border", "integers inside", "integers border", "quantizer")
    sums = {kind: Sums(mean) for kind in kinds}
    differ = {"inside": [0, 0], "border": [0, 0]}
    shown: dict[str, list[float]] = {"analyzed": [], "floats": [], "integers": []}
    for image in images:
        turned = np.ascontiguousarray(image[::-1] if vertical else image[:, ::-1])
        pixels = image.shape[0 if vertical else 1]
        q, true = subject.integers(image, quality), subject.integers(turned, quality)
        wanted = subject.dequantize(true, quality)
        options: dict[str, Any] = {"vertical": vertical, "pixels": pixels}
        floats = flip(subject.dequantize(q, quality), subject.analysis, **options)
        whole = flip(q, subject.analysis, quality=quality, **options)
        again = subject.dequantize(whole, quality)
        axis = 1 if vertical else 2
        inside = slice(BORDER, q.shape[axis] - BORDER)
        for place, part in (("inside", [inside]), ("border", [slice(BORDER), slice(-BORDER, None)])):
            for one in part:
                cut = (slice(None), one) if vertical else (slice(None), slice(None), one)
                sums[f"floats {place}"].add(floats[cut], wanted[cut])
                sums[f"integers {place}"].add(again[cut], wanted[cut])
                differ[place][0] += int((whole[cut] != true[cut]).sum())
                differ[place][1] += true[cut].numel()
        if not (image.shape[0] % 8 or image.shape[1] % 8):
            sums["quantizer"].add(wanted, subject.exact(turned))
        for name, y in (("analyzed", wanted), ("floats", floats), ("integers", again)):
            shown[name].append(subject.psnr(y, turned))
    return {
        **{kind: total.total for kind, total in sums.items() if float(total.whole.sum())},
        "mean of channels": {
            kind: round(float(np.mean(sums[kind].channels)), 4)
            for kind in ("floats inside", "integers inside", "quantizer")
            if float(sums[kind].whole.sum())
        },
        "integers that differ": {place: round(n / count, 4) for place, (n, count) in differ.items()},
        "psnr": {name: round(float(np.mean(values)), 2) for name, values in shown.items()},
        "floats inside, by channel": sums["floats inside"].channels,
    }


def through_network(subject: Subject, images: list[Image], quality: int) -> dict[str, float]:
    """PSNR of decoded integers, analyzed and flipped, against flipped photographs."""
    shown: dict[str, list[float]] = {"analyzed": [], "integers": []}
    for image in images:
        turned = np.ascontiguousarray(image[:, ::-1])
        whole = flip(subject.integers(image, quality), subject.analysis, quality=quality)
        shown["analyzed"].append(subject.network_psnr(subject.integers(turned, quality), turned, quality))
        shown["integers"].append(subject.network_psnr(whole, turned, quality))
    return {name: round(float(np.mean(values)), 2) for name, values in shown.items()}


def alternatives(subject: Subject, images: list[Image], training: list[Image], mean: Tensor) -> dict[str, Any]:
    """Errors inside, of latents that were not rounded: estimates from fewer and more cells, a fitted one, none."""
    pairs = [(subject.exact(x), subject.exact(x[:, ::-1])) for x in images]
    found: dict[str, Any] = {}
    for reach in range(4):
        known = mirror(subject.analysis, pairs[0][0].shape[-1] * 8, reach)
        found[f"{2 * reach + 1} cells"] = _inside(
            [flipping._mirrored(y, known.matrices, known.constants) for y, _ in pairs], pairs, mean
        )
        if reach == REACH:
            found["model's own"] = round(known.error, 5)
    found["mirrored cells alone"] = _inside([y.flip(-1) for y, _ in pairs], pairs, mean)
    if training:
        rows, wanted = zip(*(_rows(subject, image) for image in training), strict=True)
        x, y = torch.cat(rows), torch.cat(wanted)
        matrix = torch.linalg.solve(x.T @ x + 1e-9 * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
        results = []
        for image, (y, _) in zip(images, pairs, strict=True):
            out = torch.zeros_like(y)
            rows = _rows(subject, image)[0] @ matrix
            out[..., REACH:-REACH] = rows.reshape(y.shape[1], -1, len(y)).permute(2, 0, 1)
            results.append(out)
        found["5 cells, fitted"] = _inside(results, pairs, mean)
    return found


def _rows(subject: Subject, image: Image) -> tuple[Tensor, Tensor]:
    """Mirrored latents of five cells and a one, and what they should give."""
    y, true = subject.exact(image), subject.exact(image[:, ::-1])
    x = y.flip(-1).unfold(-1, 2 * REACH + 1, 1).permute(1, 2, 3, 0).flatten(2).flatten(0, 1)
    x = torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), dim=1)
    return x, true[..., REACH:-REACH].permute(1, 2, 0).flatten(0, 1)


def _inside(results: list[Tensor], pairs: list[tuple[Tensor, Tensor]], mean: Tensor) -> float:
    sums = Sums(mean)
    for got, (_, true) in zip(results, pairs, strict=True):
        sums.add(got[..., BORDER:-BORDER], true[..., BORDER:-BORDER])
    return sums.total


def others(subject: Subject, images: list[Image], mean: Tensor) -> dict[str, Any]:
    """Crops of 224 pixels amid the image, halves of the size, means of two and boxes."""
    quality = 80
    ring, resized, light, mixed, boxes = (Sums(mean) for _ in range(5))
    reach = [0, 0, 0, 0]  # cells that differ at the left, top, right and bottom
    beyond = 0
    mixer = CutMix(num_classes=2)
    for place, image in enumerate(images):
        q = subject.integers(image, quality)
        true = subject.integers(np.ascontiguousarray(image[144:368, 144:368]), quality)
        differs = (q[:, 18:46, 18:46] != true).any(0)
        for axis, (first, last) in enumerate(((0, 2), (1, 3))):
            where = differs[:, 6:-6].any(1) if axis else differs[6:-6].any(0)
            hits = where.nonzero()[:, 0].tolist()
            reach[first] = max([reach[first], *(n + 1 for n in hits if n < 14)])
            reach[last] = max([reach[last], *(28 - n for n in hits if n >= 14)])
        beyond += int(differs[4:-3, 4:-3].sum())
        edge = torch.ones(28, 28, dtype=torch.bool)
        edge[4:-3, 4:-3] = False
        got, wanted = (subject.dequantize(x, quality) for x in (q[:, 18:46, 18:46], true))
        ring.add(got[:, edge][..., None], wanted[:, edge][..., None])
        half = image.reshape(256, 2, 256, 2, 3).astype(np.float64).mean((1, 3))
        y = subject.exact(image)
        small = Resize(32)(y)
        resized.add(small, subject.exact(half))
        light.add(small[:1], subject.exact(half)[:1])
        other = images[place - 1]
        a, b = (subject.dequantize(subject.integers(x, quality), quality) for x in (image, other))
        mixed.add(0.7 * a + 0.3 * b, subject.exact(0.7 * image + 0.3 * other.astype(np.float64)))
        torch.manual_seed(place)
        pasted, labels = mixer(torch.stack((y, subject.exact(other))), torch.eye(2))
        pixels = torch.from_numpy(np.stack((image, other)).transpose(0, 3, 1, 2).copy())
        torch.manual_seed(place)
        _ = torch.distributions.Beta(torch.ones(1), torch.ones(1)).sample(())
        inside = (pasted[0] != y).any(0)
        picture = torch.where(inside.repeat_interleave(8, 0).repeat_interleave(8, 1), pixels[1], pixels[0])
        boxes.add(pasted[0], subject.exact(picture.permute(1, 2, 0).numpy()))
        assert abs(float(labels[0, 0]) - 1 + float(inside.double().mean())) < 1e-6
    return {
        "crop: cells that differ at the left, top, right, bottom": reach,
        "crop: integers that differ beyond 4, 4, 3, 3 cells": beyond,
        "crop: error within those cells": ring.total,
        "resize by half, average of cells": resized.total,
        "resize by half, first channel": light.channels[0],
        "mixup, against latents that were not rounded": mixed.total,
        "cutmix, all cells": boxes.total,
    }


def speed(subject: Subject) -> dict[str, float]:
    """Milliseconds: of the first flip of a fresh width, and of batches of 256 latents of 28x28 cells."""
    fresh = Analysis(subject.analysis.name, subject.analysis.weight, subject.analysis.bias, subject.analysis.steps)
    y = torch.zeros(256, subject.analysis.channels, 28, 28, dtype=torch.int16)
    flip(y[0], subject.analysis, quality=50)
    start = time.perf_counter()
    flip(y[0], fresh, quality=50)
    first = time.perf_counter() - start
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        flip(y, fresh, quality=50)
        seconds.append(time.perf_counter() - start)
    return {"first": round(first * 1e3, 1), "batch of 256": round(float(np.median(seconds)) * 1e3, 1)}


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photographs to measure on, at least 512x512")
    parser.add_argument("--train", type=Path, help="photographs to fit a matrix on; without them none is fitted")
    parser.add_argument("--last", type=int, default=24, help="only the last N files in sorted order")
    parser.add_argument("--output", type=Path, default=RESULTS / "transforms.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = list_files(options.folder, "image", last=options.last)
    images = [image[:512, :512] for image in map(read_rgb, files) if min(image.shape[:2]) >= 512]
    others_files = list_files(options.train, "image")[:80] if options.train else []
    training = [read_rgb(p)[:512, :512] for p in others_files if p not in files]
    report: dict[str, Any] = {"images": len(images), "training_images": len(training), **facts()}
    for name in CODECS:
        subject = Subject(name)
        mean = torch.cat([subject.exact(x).flatten(1) for x in images], dim=1).mean(1)
        found: dict[str, Any] = {"alternatives": alternatives(subject, images, training, mean), "speed": speed(subject)}
        for quality in QUALITIES:
            for what, width, vertical in (
                ("512 wide", 512, False), ("504 wide", 504, False), ("500 wide", 500, False), ("vertical", 512, True),
            ):  # fmt: skip
                cut = [np.ascontiguousarray(x[:, :width]) for x in images]
                found[f"quality {quality}, {what}"] = flipped(subject, cut, quality, vertical, mean)
            found[f"quality {quality}, decoded by the network, 8 images"] = through_network(
                subject, images[:8], quality
            )
        found["others"] = others(subject, images, mean)
        report[name] = found
        print(name)
        for what, values in found.items():
            print(f"  {what}")
            for key, value in values.items():
                print(f"    {key:56s} {value if not isinstance(value, list) else ' '.join(map(str, value[:12]))}")
    write_json(options.output, report)


if __name__ == "__main__":
    main()
