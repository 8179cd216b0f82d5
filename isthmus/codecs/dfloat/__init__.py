# SPDX-License-Identifier: Apache-2.0
"""Codec `dfloat.1`: tensors of floats without loss."""
