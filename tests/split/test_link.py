# SPDX-License-Identifier: Apache-2.0
"""The simulated link keeps to what holds of any link."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.split.link import Link

LINKS = st.builds(
    Link, bandwidth=st.floats(1e4, 1e10), round_trip=st.floats(0, 2), loss=st.floats(0, 0.5), jitter=st.floats(0, 0.5),
    seed=st.integers(0, 1 << 32),
)  # fmt: skip
MESSAGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20_000)), max_size=30)


def sent(messages: list[tuple[float, int]]) -> tuple[list[float], list[int]]:
    """Departures, from the gaps between them, and sizes."""
    return list(np.cumsum([gap for gap, _ in messages])), [size for _, size in messages]


@settings(max_examples=60, deadline=None)
@given(LINKS, MESSAGES, st.floats(1, 100))
def test_what_holds_of_any_link(link: Link, messages: list[tuple[float, int]], faster: float) -> None:
    departures, sizes = sent(messages)
    found = link.arrivals(departures, sizes)
    least = np.asarray(departures) + np.asarray(sizes) * 8 / link.bandwidth + link.round_trip / 2
    assert (found >= least * (1 - 1e-9)).all()
    assert (np.diff(found) >= 0).all()  # first in, first out
    assert np.array_equal(found, link.arrivals(departures, sizes))
    assert (replace(link, bandwidth=link.bandwidth * faster).arrivals(departures, sizes) <= found * (1 + 1e-9)).all()


def test_a_link_without_chance_is_known_in_advance() -> None:
    link = Link(bandwidth=12_000_000, round_trip=0.04)  # 1500 bytes take a millisecond
    assert link.arrivals([0, 0, 1], [1448, 2896, 0]) == pytest.approx([0.021, 0.023, 1.02 + 52 / 1_500_000])


def test_loss_and_jitter_cost_time_and_differ_by_seed() -> None:
    departures, sizes = list(np.arange(2000) * 0.01), [1000] * 2000
    clean = Link(1e7, 0.03).arrivals(departures, sizes)
    lossy = Link(1e7, 0.03, loss=0.02).arrivals(departures, sizes)
    late = Link(1e7, 0.03, jitter=0.004).arrivals(departures, sizes)
    assert lossy[-1] >= clean[-1] and 0.005 < (lossy - clean).mean() < 0.05
    assert 0.003 < (late - clean).mean() < 0.01  # more than the jitter, as nobody overtakes
    assert not np.array_equal(late, Link(1e7, 0.03, jitter=0.004, seed=1).arrivals(departures, sizes))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bandwidth": 0}, "a bandwidth of 0"),
        ({"round_trip": -1}, "round_trip of -1"),
        ({"loss": 0.9}, "a loss of 0.9"),
        ({"jitter": float("nan")}, "jitter of nan"),
    ],
)
def test_what_no_link_has_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Link(**{"bandwidth": 1e6, "round_trip": 0.1, **wrong})
    for departures, sizes in (([1, 0], [1, 1]), ([0], [1, 1]), ([0], [-1])):
        with pytest.raises(ValueError, match="link: "):
            Link(1e6, 0.1).arrivals(departures, sizes)
