# SPDX-License-Identifier: Apache-2.0
"""Training of heads on data sets of latents: classifiers, what they are judged by, and their files."""

from isthmus.training.heads.classify import train_classifier
from isthmus.training.heads.evaluation import Evaluated, evaluate
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.saved import HeadFacts, load_head, save_head

__all__ = ["Evaluated", "HeadFacts", "HeadRecipe", "evaluate", "load_head", "save_head", "train_classifier"]
