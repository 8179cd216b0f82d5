# SPDX-License-Identifier: Apache-2.0
"""Codecs of others, in the shape of ours."""
