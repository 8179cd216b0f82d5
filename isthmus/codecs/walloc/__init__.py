# SPDX-License-Identifier: Apache-2.0
"""Codecs `walloc.1` and `walloc.2`: wavelet packets, one linear layer in, a network out."""
