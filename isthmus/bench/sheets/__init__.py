# SPDX-License-Identifier: Apache-2.0
"""Pictures that show what a codec leaves."""
