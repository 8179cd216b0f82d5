# SPDX-License-Identifier: Apache-2.0
"""Bit patterns of floats to planes of bytes and back, ours and those of the dfloat11 layout."""
