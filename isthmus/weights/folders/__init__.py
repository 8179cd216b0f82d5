# SPDX-License-Identifier: Apache-2.0
"""Folders of weights: which files belong to a model, where they are written, and what transformers reads there."""
