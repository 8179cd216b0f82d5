# SPDX-License-Identifier: Apache-2.0
"""Metrics, rate-distortion runs and their reports. Nothing here is needed to encode or decode."""
