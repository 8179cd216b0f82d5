# SPDX-License-Identifier: Apache-2.0
"""Samples as callers hand them over: numpy, torch, PIL; to the arrays that codecs take, and back."""
