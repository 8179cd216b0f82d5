# SPDX-License-Identifier: Apache-2.0
"""Media files in and out, one small module each; the packages that read them are imported at first use."""
