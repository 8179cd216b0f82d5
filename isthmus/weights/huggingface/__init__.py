# SPDX-License-Identifier: Apache-2.0
"""Compressed folders in transformers: `from_pretrained`, theirs and ours. Nothing here is imported before transformers.

Registered with transformers' interface for quantizers, as what is in a file is not what the model computes with. Its
own loader renames, merges and casts the tensors of a checkpoint; it is given compressed ones, which put that off.
"""
