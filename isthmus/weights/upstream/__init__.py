# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the published layout of DFloat11: read, decoded, and written."""
