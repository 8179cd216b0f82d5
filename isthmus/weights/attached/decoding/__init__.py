# SPDX-License-Identifier: Apache-2.0
"""Compressed tensors as a running model holds them, and the memory that groups of them are decoded into."""
