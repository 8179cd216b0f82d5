# SPDX-License-Identifier: Apache-2.0
"""Heads that say something of every pixel: segmentation, colourisation, depth-like pictures."""

from isthmus.training.heads.dense.judged import JudgedClasses, JudgedValues, judge
from isthmus.training.heads.dense.kinds import kind_of
from isthmus.training.heads.dense.pictures import Pictures
from isthmus.training.heads.dense.task import DENSE, train_dense

__all__ = ["DENSE", "JudgedClasses", "JudgedValues", "Pictures", "judge", "kind_of", "train_dense"]
