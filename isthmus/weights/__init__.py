# SPDX-License-Identifier: Apache-2.0
"""Model weights without loss: safetensors files and Hugging Face folders, smaller, bit for bit the same.

    from isthmus import weights
    weights.compress("model.safetensors", "model.df.safetensors")
    weights.decompress("model.df.safetensors", "again.safetensors")     # the same bytes
    weights.WeightFile("model.df.safetensors").tensor("embed.weight")   # one tensor
    weights.attach(model, "model.df.safetensors")                       # a torch model that runs from them

Checkpoints in the published DFloat11 layout: `UpstreamCheckpoint` and `attach` read them, `to_upstream` writes them.

Format: docs/format-dfloat.md.
"""

from isthmus.weights.attached.attach import attach
from isthmus.weights.attached.attachment import Attachment, AttachReport, attachment_of
from isthmus.weights.checkpoints import Done, compress, decompress, total_bytes, verify
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.huggingface.pretrained import from_pretrained
from isthmus.weights.huggingface.registration import register
from isthmus.weights.report import TensorReport, inspect
from isthmus.weights.upstream.checkpoint import UpstreamCheckpoint
from isthmus.weights.upstream.write import UpstreamReport, to_upstream

__all__ = [
    "AttachReport",
    "Attachment",
    "Done",
    "TensorReport",
    "UpstreamCheckpoint",
    "UpstreamReport",
    "WeightFile",
    "attach",
    "attachment_of",
    "compress",
    "decompress",
    "from_pretrained",
    "inspect",
    "to_upstream",
    "total_bytes",
    "verify",
]

register()
