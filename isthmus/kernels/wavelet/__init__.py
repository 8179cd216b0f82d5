# SPDX-License-Identifier: Apache-2.0
"""Wavelet packets by lifting, and the linear maps between their bands and latents."""
