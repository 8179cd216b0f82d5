# SPDX-License-Identifier: Apache-2.0
"""Times on the command line: seconds, milliseconds, or as a clock shows them."""

import re

import typer

_LENGTH = re.compile(r"(\d+\.?\d*|\.\d+) ?(s|ms)?")
_CLOCK = re.compile(r"(?:(\d+):(?=\d\d:))?(\d+):(\d\d(?:\.\d*)?)")


def seconds(text: str) -> float:
    """A time such as 12, 12.5s, 500ms, 0:12, 1:02.5 or 1:00:03. Raises BadParameter."""
    given = str(text).strip()
    if found := _LENGTH.fullmatch(given):
        return float(found[1]) / (1000 if found[2] == "ms" else 1)
    if found := _CLOCK.fullmatch(given):
        hours, minutes, rest = int(found[1] or 0), int(found[2]), float(found[3])
        if rest < 60 and (minutes < 60 or found[1] is None):
            return 3600 * hours + 60 * minutes + rest
    raise typer.BadParameter(f"{given!r} is no time: expected 12, 12s, 500ms, 0:12, 1:02.5 or 1:00:03")
