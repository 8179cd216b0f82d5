# SPDX-License-Identifier: Apache-2.0
"""Integers to payloads and back: rANS and what is built on it, plain bits, masks, histograms."""
