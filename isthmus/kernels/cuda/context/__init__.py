# SPDX-License-Identifier: Apache-2.0
"""Contexts along time on a GPU, a few threads for each payload."""
