# SPDX-License-Identifier: Apache-2.0
"""Recipes and the settings that change them."""

import pytest

from isthmus.options import change
from isthmus.training.walloc.recipes import RECIPES

RECIPE = RECIPES["walloc-image-f8c48"]


def test_settings_of_recipe_and_model() -> None:
    changed = change(RECIPE, ["crop=128", "width=64", "lambda_high=0.5"], "train codec")
    assert (changed.crop, changed.model.width, changed.lambda_high) == (128, 64, 0.5)
    assert changed.model.latent_channels == RECIPE.model.latent_channels and changed.steps == RECIPE.steps
    assert change(RECIPE, [], "train codec") == RECIPE


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("colour=3", "no setting 'colour'; known: steps, batch"),
        ("width", "width=: expected an integer"),
        ("width=", "expected an integer"),
        ("steps=many", "steps=many: expected an integer"),
        ("lambda_low=x", "expected a number"),
        ("model=3", "no setting 'model'"),
    ],
)
def test_wrong_settings(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(RECIPE, [setting], "train codec")
