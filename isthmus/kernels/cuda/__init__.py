# SPDX-License-Identifier: Apache-2.0
"""Kernels in CUDA C++, compiled by NVRTC when they are first used: no nvcc and no package beside torch is needed."""
