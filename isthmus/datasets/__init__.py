# SPDX-License-Identifier: Apache-2.0
"""Whole data sets as latents: transcoded once, then read as fast as a GPU takes them.

transcode("photos/", "latents/", codec="walloc-image-f8c12")
loader = DataLoader(LatentDataset("latents/"), batch_size=256)
"""

from isthmus.lazy import names_on_demand

__all__ = ["LatentDataset", "LatentIterableDataset", "SizeBuckets", "collate", "transcode", "verify"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "LatentDataset": "isthmus.datasets.latents.dataset",
        "LatentIterableDataset": "isthmus.datasets.latents.stream",
        "SizeBuckets": "isthmus.datasets.latents.buckets",
        "collate": "isthmus.datasets.latents.batch",
        "transcode": "isthmus.datasets.job",
        "verify": "isthmus.datasets.checks",
    },
)
