# SPDX-License-Identifier: Apache-2.0
"""Taggers of sound: what is heard in latents, as one class of each sample or as several tags."""

from isthmus.training.heads.tagging.judged import JudgedTags, judge_tags
from isthmus.training.heads.tagging.task import SOUND, TAGS, train_tagger

__all__ = ["SOUND", "TAGS", "JudgedTags", "judge_tags", "train_tagger"]
