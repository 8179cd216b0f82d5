# SPDX-License-Identifier: Apache-2.0
"""Whether latents of two data sets, or those that a head reads, mean the same."""

import warnings
from typing import Any

from isthmus.datasets.latents.dataset import LatentDataset


def check_alike(one: LatentDataset, other: LatentDataset) -> None:
    """Raises ValueError where latents of two data sets do not mean the same."""
    check_origin(one.origin["codec"], one.path, other)
    if one.shapes != other.shapes:
        warnings.warn(f"{other.path}: planes {other.shapes}, {one.path} has {one.shapes}", stacklevel=3)


def tell_settings(settings: dict[str, Any], of: str, data: LatentDataset) -> str | None:
    """A line for people where samples of a data set were made otherwise than those `of` something else; None if alike.

    settings: as a manifest has them. Options that one of them does not have, as adapters are of all qualities, are not
    compared, and neither is how many pixels files may have.
    """
    theirs = data.origin["settings"]
    told = [f"{name} {theirs.get(name)}, there {settings.get(name)}" for name in ("resize", "crop")
            if theirs.get(name) != settings.get(name)]  # fmt: skip
    one, other = theirs.get("options", {}), settings.get("options", {})
    told += [f"{name} {one[name]}, there {other[name]}" for name in one if name in other and name != "max_pixels"
             and one[name] != other[name]]  # fmt: skip
    return f"{data.path}: made with other settings than what {of} was trained on: {'; '.join(told)}" if told else None


def check_origin(codec: dict[str, Any], of: str, data: LatentDataset) -> None:
    """Raises ValueError where a data set was not made by the codec `of` something else, as a manifest has it."""
    theirs = data.origin["codec"]
    if any(codec.get(name) != theirs.get(name) for name in ("name", "weights_hash")):
        raise ValueError(
            f"{data.path}: latents of {theirs.get('name')} ({theirs.get('weights_hash')}), {of} reads those of "
            f"{codec.get('name')} ({codec.get('weights_hash')}): make both with one codec"
        )
