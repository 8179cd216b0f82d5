# SPDX-License-Identifier: Apache-2.0
"""Codecs, one family a file: samples to latents to bytes and back."""
