# SPDX-License-Identifier: Apache-2.0
"""Model weights without loss: safetensors files and Hugging Face folders, smaller, bit for bit the same.

    from isthmus import weights
    weights.compress("model/", "model-df/")                                        # or a file
    weights.decompress("model-df/", "again/")                                      # the same bytes
    model = weights.from_pretrained("model-df/", AutoModelForCausalLM)             # of transformers
    weights.attach(model, "model.dfloat")                                          # any torch model that runs from them
    weights.load_file("model.dfloat")                                              # the tensors

Checkpoints in the published DFloat11 layout: `UpstreamCheckpoint` and `attach` read them, `to_upstream` writes them.

Format: docs/format-dfloat.md.
"""

from typing import TYPE_CHECKING

from isthmus.lazy import names_on_demand
from isthmus.weights.checkpoints import compress, decompress, left_out, plain_shards, total_bytes, verify
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.done import Done
from isthmus.weights.folders.weight_files import weight_files
from isthmus.weights.huggingface.registration import register
from isthmus.weights.reports.estimate import Estimate, estimate
from isthmus.weights.reports.report import TensorReport, inspect

if TYPE_CHECKING:
    from isthmus.weights.attached.attach import attach
    from isthmus.weights.attached.attachment import Attachment, AttachReport, attachment_of
    from isthmus.weights.huggingface.pretrained import from_pretrained
    from isthmus.weights.reading import OpenWeights, load_file, open, state_dict
    from isthmus.weights.upstream.checkpoint import UpstreamCheckpoint
    from isthmus.weights.upstream.write import UpstreamReport, to_upstream
else:  # all that need torch, which takes seconds to load: who compresses files does without
    _ON_DEMAND = {
        "attached.attach": ("attach",),
        "attached.attachment": ("Attachment", "AttachReport", "attachment_of"),
        "huggingface.pretrained": ("from_pretrained",),
        "reading": ("OpenWeights", "load_file", "open", "state_dict"),
        "upstream.checkpoint": ("UpstreamCheckpoint",),
        "upstream.write": ("UpstreamReport", "to_upstream"),
    }
    __getattr__, __dir__ = names_on_demand(
        __name__, {name: f"{__name__}.{module}" for module, names in _ON_DEMAND.items() for name in names}
    )

__all__ = [
    "AttachReport",
    "Attachment",
    "Done",
    "Estimate",
    "OpenWeights",
    "TensorReport",
    "UpstreamCheckpoint",
    "UpstreamReport",
    "WeightFile",
    "attach",
    "attachment_of",
    "compress",
    "decompress",
    "estimate",
    "from_pretrained",
    "inspect",
    "left_out",
    "load_file",
    "open",
    "plain_shards",
    "state_dict",
    "to_upstream",
    "total_bytes",
    "verify",
    "weight_files",
]

register()
