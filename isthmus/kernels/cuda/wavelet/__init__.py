# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels of the image transform."""
