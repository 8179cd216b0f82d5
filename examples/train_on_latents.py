# SPDX-License-Identifier: Apache-2.0
"""Trains a small classifier on latents:  python examples/train_on_latents.py latents/ latents-validation/"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

from isthmus.datasets import LatentDataset


def main() -> None:
    train, validation = (LatentDataset(path) for path in sys.argv[1:3])
    channels, classes = len(train.mean["y"]), len(train.classes)
    model = nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1), nn.GELU(), nn.Conv2d(64, 64, 3, 2, padding=1), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for epoch in range(8):
        for batch in DataLoader(train, batch_size=32, shuffle=True):
            x = train.dequantize(batch, normalize=True)["y"]  # with device="cuda", integers travel there
            loss = nn.functional.cross_entropy(model(x), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = sum(
                int((model(train.dequantize(batch, normalize=True)["y"]).argmax(1) == batch["label"]).sum())
                for batch in DataLoader(validation, batch_size=256)
            )
        print(f"epoch {epoch}: loss {loss:.3f}, {right} of {len(validation)} right on kept-out photographs")


if __name__ == "__main__":
    main()
