# SPDX-License-Identifier: Apache-2.0
"""Model weights without loss: safetensors files and Hugging Face folders, smaller, bit for bit the same."""
