# SPDX-License-Identifier: Apache-2.0
"""Torch modules: transforms and networks. No bytes, no files."""
