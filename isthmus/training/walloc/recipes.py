# SPDX-License-Identifier: Apache-2.0
"""Training recipes of the codecs that ship, by codec name."""

from dataclasses import fields, replace

from isthmus.models.walloc import WallocConfig
from isthmus.training.walloc.trainer import TrainingConfig

RECIPES = {
    # 16 times fewer numbers than the picture has samples; saturates at about 0.8 bits per pixel.
    "walloc-image-f8c12": TrainingConfig(
        model=WallocConfig(latent_channels=12), lambda_low=0.0008, lambda_high=0.08, steps=50_000, batch=96
    ),
    # 4 times fewer; 0.2 to 1.9 bits per pixel on photographs.
    "walloc-image-f8c48": TrainingConfig(
        model=WallocConfig(latent_channels=48), lambda_low=0.0008, lambda_high=0.2, steps=50_000, batch=96
    ),
}


def change(recipe: TrainingConfig, settings: list[str]) -> TrainingConfig:
    """The recipe with settings "name=value" of its own or of its model's.

    Raises ValueError for a name that neither has, or a value of another type.

    >>> change(RECIPES["walloc-image-f8c12"], ["width=64", "network_rate=0.001"]).model.width
    64
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        owner = recipe.model if name in {f.name for f in fields(recipe.model)} else recipe
        names = [f.name for f in (*fields(recipe), *fields(recipe.model)) if f.name != "model"]
        if name not in names:
            raise ValueError(f"train codec: no setting {name!r}; known: {', '.join(names)}")
        kind = type(getattr(owner, name))
        try:
            value = kind(text)
        except ValueError as error:
            raise ValueError(f"train codec: {setting}: expected {kind.__name__}") from error
        changed = replace(owner, **{name: value})
        recipe = changed if isinstance(changed, TrainingConfig) else replace(recipe, model=changed)
    return recipe
