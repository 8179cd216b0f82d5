# SPDX-License-Identifier: Apache-2.0
"""Training recipes of the codecs that ship, by codec name."""

from isthmus.models.walloc.audio import WallocAudioConfig
from isthmus.models.walloc.image import WallocConfig
from isthmus.training.walloc.audio.trainer import AudioTrainingConfig
from isthmus.training.walloc.trainer import TrainingConfig

RECIPES: dict[str, TrainingConfig | AudioTrainingConfig] = {
    # 16 times fewer numbers than the picture has samples; saturates at about 0.8 bits per pixel.
    "walloc-image-f8c12": TrainingConfig(
        model=WallocConfig(latent_channels=12), lambda_low=0.0008, lambda_high=0.08, steps=50_000, batch=96
    ),
    # 4 times fewer; 0.2 to 1.9 bits per pixel on photographs.
    "walloc-image-f8c48": TrainingConfig(
        model=WallocConfig(latent_channels=48), lambda_low=0.0008, lambda_high=0.2, steps=50_000, batch=96
    ),
    # 19 times fewer numbers than stereo has samples; 5 to 17 kbit/s of music.
    "walloc-audio-f256c27": AudioTrainingConfig(
        model=WallocAudioConfig(latent_channels=27), step_low=0.3, step_high=0.04, steps=100_000
    ),
    # 4.7 times fewer; 8 to 75 kbit/s.
    "walloc-audio-f256c108": AudioTrainingConfig(model=WallocAudioConfig(latent_channels=108), steps=100_000),
}
