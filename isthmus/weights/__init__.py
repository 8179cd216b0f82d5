# SPDX-License-Identifier: Apache-2.0
"""Model weights without loss: safetensors files and Hugging Face folders, smaller, bit for bit the same.

    from isthmus import weights
    weights.compress("model.safetensors", "model.df.safetensors")
    weights.decompress("model.df.safetensors", "again.safetensors")     # the same bytes
    weights.WeightFile("model.df.safetensors").tensor("embed.weight")   # one tensor

Format: docs/format-dfloat.md.
"""

from isthmus.weights.checkpoints import Done, compress, decompress, total_bytes, verify
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.report import TensorReport, inspect

__all__ = ["Done", "TensorReport", "WeightFile", "compress", "decompress", "inspect", "total_bytes", "verify"]
