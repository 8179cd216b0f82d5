# SPDX-License-Identifier: Apache-2.0
"""What names the table of each symbol: factorized models, contexts, integer networks."""
