# SPDX-License-Identifier: Apache-2.0
"""What codecs are set to in measurements, and how tables name that."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from isthmus.options import kinds_of

QUALITIES = (5, 15, 25, 35, 45, 55, 65, 75, 85, 95)  # of a codec with a quality that names none itself
Setting = Mapping[str, Any]  # options of `encode`


def settings_of(codec: Any) -> list[Setting]:
    """What a codec is measured at: a ladder of qualities, else the choices of its first stored option, else once."""
    options: Any = getattr(codec, "Options", None)
    if options is None:
        ladder = getattr(codec, "qualities", None)
        return [{"quality": quality} for quality in ladder] if ladder else [{}]
    if options.has("quality"):
        return [{"quality": quality} for quality in getattr(codec, "qualities", QUALITIES)]
    for f in fields(options):
        choices = kinds_of(options)[f.name].choices
        if f.metadata.get("stored") and choices:
            return [{f.name: choice} for choice in choices]
    return [{}]


def in_full(codec: Any, setting: Setting) -> Setting:
    """A setting with the codec's own quality where it names none."""
    options: Any = getattr(codec, "Options", None)
    if options is None or "quality" in setting or not options.has("quality"):
        return setting
    return {"quality": options.of({}).quality, **setting}


def describe(setting: Setting) -> str:
    """A setting in a table, as quality=50."""
    return " ".join(f"{name}={value}" for name, value in setting.items())
