# SPDX-License-Identifier: Apache-2.0
"""Length-limited Huffman codes: four streams a chunk, and the index by which a GPU finds its way into them."""
