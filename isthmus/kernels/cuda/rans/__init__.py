# SPDX-License-Identifier: Apache-2.0
"""rANS on a GPU, a warp for each payload."""
