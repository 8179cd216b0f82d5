# SPDX-License-Identifier: Apache-2.0
"""Compressed tensors as torch sees them: `CompressedTensor`, and what operations do with it."""
