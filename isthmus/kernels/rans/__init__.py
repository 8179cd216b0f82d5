# SPDX-License-Identifier: Apache-2.0
"""Interleaved rANS: lanes, the loops unrolled for 32 of them, batches, segments, and the tables they look up."""
