# SPDX-License-Identifier: Apache-2.0
"""Average precision, against cases made by hand."""

import numpy as np
import pytest

from isthmus.training.heads.tagging.judged import JudgedTags
from isthmus.training.heads.tagging.precision import Ranking

SCORES = np.array([[9, 1, 5, 1], [8, 2, 5, 9], [7, 3, 5, 2], [1, 4, 5, 3]], np.float32)
TRUTH = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]], bool)


def test_by_hand() -> None:
    found = Ranking(SCORES, TRUTH).average(np.ones(4))
    assert found[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert np.isnan(found[1])  # no sample has it
    assert found[2] == pytest.approx(2 / 4)  # of one score: their order tells nothing
    judged = JudgedTags(SCORES, TRUTH, 0.0)
    assert judged.map == pytest.approx((5 / 6 + 1 / 2 + 1) / 3)
    told = judged.describe()
    assert told["low"] <= judged.map <= told["high"] and told["classes_without_samples"] == 1


def test_weights_are_samples_that_count_so_often() -> None:
    random = np.random.default_rng(0)
    scores, truth = random.integers(0, 5, (30, 4)).astype(np.float32), random.random((30, 4)) < 0.3
    times = random.integers(0, 4, 30)
    again = np.repeat(np.arange(30), times)
    weighted = Ranking(scores, truth).average(times)
    assert weighted == pytest.approx(Ranking(scores[again], truth[again]).average(np.ones(len(again))))


def test_order_of_samples_changes_nothing() -> None:
    order = np.array([2, 0, 3, 1])
    one, other = Ranking(SCORES, TRUTH).average(np.ones(4)), Ranking(SCORES[order], TRUTH[order]).average(np.ones(4))
    assert one == pytest.approx(other, nan_ok=True)
    with pytest.raises(ValueError, match="expected"):
        Ranking(SCORES, TRUTH[:3])
