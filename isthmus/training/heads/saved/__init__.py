# SPDX-License-Identifier: Apache-2.0
"""Trained heads as files, which latents they read, and trainings that begin with them."""

from isthmus.models.heads.saved import NAME, HeadFacts, load_head, save_head
from isthmus.training.heads.saved.origin import check_alike, check_origin, tell_settings
from isthmus.training.heads.saved.start import Start

__all__ = ["NAME", "HeadFacts", "Start", "check_alike", "check_origin", "load_head", "save_head", "tell_settings"]
