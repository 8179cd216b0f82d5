# SPDX-License-Identifier: Apache-2.0
"""What is said of long work where there is no terminal."""

from types import SimpleNamespace

import pytest

from isthmus import progress
from isthmus.progress import Progress, duration, each


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EVERY", 0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=iter(range(1, 99)).__next__))
    with Progress(4_000_000, "bytes", done=1_000_000) as shown:
        shown.update(2_000_000, "model.dfloat")
        shown.update(1_000_000)
    with Progress(None, "samples", what="encoding") as shown:
        shown.update(3)
    assert list(each("ab", "letters")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines() == [
        "isthmus: 3.0 of 4.0 MB, 75 %, 2.0 a second, model.dfloat, 0 s left",
        "isthmus: 4.0 of 4.0 MB, 100 %, model.dfloat",
        "isthmus: encoding: 3 samples, 3.0 a second",
        "isthmus: 1 of 2 letters, 50 %, 1.0 a second, 1 s left",
        "isthmus: 2 of 2 letters, 100 %",
    ]


def test_nothing_is_said_of_what_takes_a_moment_or_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(2, "steps") as shown:
        shown.next("one")
    monkeypatch.setattr(progress, "EVERY", 0)
    with Progress(2, "steps", shown=False) as shown:
        shown.next("one")
    assert capsys.readouterr() == ("", "")
