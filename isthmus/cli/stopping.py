# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C where there is more to say than that the command was stopped."""


class StoppedError(Exception):
    """Instead of KeyboardInterrupt; the message says what to do."""
