# SPDX-License-Identifier: Apache-2.0
"""A `Medium` for each kind of samples."""
