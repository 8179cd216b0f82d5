# SPDX-License-Identifier: Apache-2.0
"""Integer frequency tables: families of them, how floats become them, and Huffman code lengths."""
