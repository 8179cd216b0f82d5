# SPDX-License-Identifier: Apache-2.0
"""Huffman streams of weights on a GPU: decoded, or multiplied as they are."""
