# SPDX-License-Identifier: Apache-2.0
"""Models that run from compressed weights, on a CPU or a GPU, and give the same results bit for bit."""
