# SPDX-License-Identifier: Apache-2.0
"""Latents to train on, from what was transcoded or from files as they are."""

from isthmus.lazy import names_on_demand

PLACES = {
    "LatentDataset": "isthmus.datasets.latents.dataset",
    "LatentIterableDataset": "isthmus.datasets.latents.stream",
    "SizeBuckets": "isthmus.datasets.latents.buckets",
    "collate": "isthmus.datasets.latents.batch",
}
__all__ = ["LatentDataset", "LatentIterableDataset", "SizeBuckets", "collate"]

__getattr__, __dir__ = names_on_demand(__name__, PLACES)
