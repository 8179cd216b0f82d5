# SPDX-License-Identifier: Apache-2.0
"""Small real samples that ship, for first tries and tests; sources and licences in README.md beside them."""

from pathlib import Path

SPEECH = Path(__file__).parent / "speech.wav"
ASTRONAUT = Path(__file__).parent / "astronaut.png"
