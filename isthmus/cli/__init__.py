# SPDX-License-Identifier: Apache-2.0
"""The command `isthmus`, one file a group of commands."""
