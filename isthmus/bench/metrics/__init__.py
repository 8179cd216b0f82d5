# SPDX-License-Identifier: Apache-2.0
"""How far a reconstruction is from its original."""
