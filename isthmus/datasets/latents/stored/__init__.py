# SPDX-License-Identifier: Apache-2.0
"""Rows of transcoded data sets, read where they lie."""
