# SPDX-License-Identifier: Apache-2.0
"""The example of docs/format-network.md, read from the page."""

import re
from pathlib import Path

import numpy as np
import torch

from isthmus.entropy import IntegerNetwork, TableFamily
from isthmus.entropy.models.integer_layer import IntegerLayer
from tests.entropy.models.random_network import laplace_tables

PAGE = (Path(__file__).parents[3] / "docs" / "format-network.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def grid(text: str) -> list[list[int]]:
    return [[int(v) for v in row.split()] for row in text.splitlines()]


def page_network() -> IntegerNetwork:
    rows = re.findall(r"low (-?\d+), frequencies ([\d ]+)", blocks("tables")[0])
    frequencies = [[int(f) for f in row.split()] for _, row in rows]
    lows, sizes = [int(low) for low, _ in rows], [len(f) - 1 for f in frequencies]
    layers, inputs = [], 1
    for text in blocks("layers")[0].split("layer ")[1:]:
        k, groups, shift = (int(v) for v in re.findall(r"k (\d), groups (\d), shift (\d)", text)[0])
        weight = [[int(v) for v in row.split()] for row in re.findall(r"weight ([-\d ]+)", text)]
        bias = np.array(re.findall(r"bias ([-\d ]+)", text)[0].split(), np.int32)
        layers.append(IntegerLayer(np.array(weight, np.int8).reshape(-1, inputs, k, k), bias, shift, groups))
        inputs = len(bias)
    return IntegerNetwork(layers, TableFamily(12, lows, sizes, np.concatenate(frequencies)))


def test_the_example() -> None:
    network = page_network()
    x = np.array([[grid(blocks("input")[0])]])
    first = IntegerNetwork(network.layers[:1], laplace_tables(128))  # whose indices are clipped as activations are
    assert first.reference(x)[0].tolist() == [grid(text) for text in blocks("hidden")]
    for found in (network.reference(x), network(torch.from_numpy(x)).numpy()):
        assert found[0, 0].tolist() == grid(blocks("indices")[0])


def test_the_hashes() -> None:
    network = page_network()
    assert f"with the hash `{network.tables.hash}`" in PAGE
    assert f"The model has the hash `{network.hash}`" in PAGE
