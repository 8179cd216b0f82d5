# SPDX-License-Identifier: Apache-2.0
"""`attach`: a model gets its weights from a compressed file."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn

from isthmus.weights.attached.attachment import Attachment
from isthmus.weights.attached.blocks import check_blocks
from isthmus.weights.attached.devices import Devices
from isthmus.weights.attached.load import put
from isthmus.weights.attached.source import open_source
from isthmus.weights.huggingface.conversion import match


def attach(
    model: nn.Module,
    path: str | Path,
    *,
    device: str | torch.device | Mapping[str, str | int | torch.device] | None = None,
    offload: bool = False,
    fused: bool = False,
    blocks: Collection[str] | None = None,
    strict: bool = True,
    threads: int | None = None,
    base: str | Path | None = None,
    patterns: Mapping[str, list[str]] | None = None,
) -> Attachment:
    """Gives a model all its weights from `path`; compressed ones stay so, and are decoded block by block as it runs.

    The model's outputs and gradients are those of the same weights uncompressed, bit for bit. It may be on the meta
    device, so that uncompressed weights are never in memory. A compressed parameter is a tensor that is decoded when
    something reads it; writing to it raises RuntimeError, before `detach`. `model.to(device)` works afterwards. It can
    be captured in a CUDA graph after it has run once; the graph must not run at the same time as the model itself.
    A model of transformers may name its tensors in another way than the file, by transformers' own mapping.

    path: a file or folder that `isthmus.weights.compress` made (plain safetensors files may lie beside), or a published
    DFloat11 folder. device: where weights go, a device or for names of modules a device each (the longest name that
    fits counts; inputs are moved between them); None leaves parameters where they are, and takes the CPU for meta.
    offload: keep the compressed bytes in the CPU's memory and copy them each time. fused: on a GPU, nn.Linear modules
    multiply up to 4 vectors with bf16 weights as they decode them, where rows are a multiple of 256 weights; that takes
    half the time, but sums are in another order than torch's, so outputs are not the same bits. blocks: names of
    modules that decode all their weights together; by default the layers of a transformer. strict: False lets
    parameters that the source does not have stay as they are, unless it has none of them. threads: for decoding on the
    CPU; torch's number when None. base: the checkpoint that a delta needs. patterns: pattern_dict of a single DFloat11
    file.

    Raises UnreadableFileError, CorruptStreamError and WeightsMismatchError for the files; ValueError for a tensor of
    another shape or dtype than the model's (some may be of another than most are), one that is missing, or a block or
    module that is not there.
    """
    threads = torch.get_num_threads() if threads is None else threads
    devices = Devices(device)
    with torch.inference_mode(False):
        matched = match(model, open_source(path, base=base, patterns=patterns))
        check_blocks(model, blocks)
        put(model, matched, devices, strict=strict)
        attachment = Attachment(
            model, blocks=blocks, offload=offload, fused=fused, threads=threads, unused=matched.unused,
            missing=matched.missing,
        )  # fmt: skip
    attachment.hooks += devices.hook(model)
    return attachment
