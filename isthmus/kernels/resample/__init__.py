# SPDX-License-Identifier: Apache-2.0
"""Other sample rates."""
