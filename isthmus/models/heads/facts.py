# SPDX-License-Identifier: Apache-2.0
"""What a trained head is and reads, as the metadata of its file say it; they may be from anywhere."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from torch import Tensor

from isthmus.models.heads.stem import LatentInput

VERSION = 1
TASKS = ("classify", "dense", "tag")
OUTPUTS = 1 << 20  # of a head, fewer
SIDE, CHANNELS = 1 << 14, 1 << 16  # pixels that images are resized or cropped to, as `transcode` has it; of a latent
LARGEST = 3e38  # numbers of 32 bits


@dataclass(frozen=True)
class HeadFacts:
    """What a head is and reads. task: "classify", "dense" or "tag". codec, settings: as a manifest has them; with
    `tables`, by codec id, they say which latents it takes. asked: what its task was told, such as the column `tags`,
    without which a "tag" is one class a sample. recipe, results: how it was made, for people."""

    task: str
    head: str
    input: LatentInput
    outputs: int
    classes: list[str] | None
    codec: dict[str, Any]
    settings: dict[str, Any]
    asked: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the outputs: the classes, or numbers."""
        return self.classes or [str(number) for number in range(self.outputs)]

    def shares(self, logits: Tensor) -> Tensor:
        """Shares by class of logits [..., outputs]; of several tags each its own, which sum to no 1."""
        return logits.sigmoid() if "tags" in self.asked else logits.softmax(-1)

    def pack(self) -> str:
        return json.dumps(jsonable({"version": VERSION, **asdict(self)}), ensure_ascii=False, allow_nan=False)

    @classmethod
    def unpack(cls, text: str) -> "HeadFacts":
        """Raises KeyError, TypeError, ValueError or OverflowError."""
        told = json.loads(text)
        _check(isinstance(told, dict), "facts", told)
        if told.pop("version", None) != VERSION:
            raise ValueError(f"another version than {VERSION}")
        about = told["input"]
        _check(isinstance(about, dict) and all(isinstance(about[n], list) for n in ("mean", "std")), "input", about)
        about = LatentInput(**{**about, "mean": tuple(about["mean"]), "std": tuple(about["std"])})
        found = cls(**{**told, "input": about})
        for name in ("codec", "settings", "asked", "recipe", "results"):
            _check(isinstance(getattr(found, name), dict), name, getattr(found, name))
        _check_input(about)
        _check_outputs(found)
        _check_codec(found.codec)
        _check_settings(found.settings, about.axes)
        _check_asked(found)
        return found


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it: None for a float that is no number, or infinite."""
    if isinstance(value, dict):
        return {name: jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _check(good: bool, name: str, value: Any) -> None:
    if not good:
        told = repr(value)
        raise ValueError(f"{name}: {told if len(told) < 80 else told[:80] + ' ...'}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def _is_whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _check_input(about: LatentInput) -> None:
    _check(_is_whole(about.channels, 1, CHANNELS), "channels of its input", about.channels)
    _check(_is_whole(about.axes, 1, 2), "axes of its input", about.axes)
    _check(_is_whole(about.cell, 1, CHANNELS), "cell of its input", about.cell)
    if not len(about.mean) == len(about.std) == about.channels:
        raise ValueError(f"an input of {about.channels} channels, {len(about.mean)} means and {len(about.std)} std")
    _check_numbers("mean", about.mean)
    _check_numbers("std", about.std, above=0)


def _check_numbers(name: str, values: Iterable[Any], above: float = -LARGEST) -> None:
    wrong = [value for value in values if not _is_number(value) or value <= above]
    if wrong:
        _check(False, name, wrong[0])


def _check_outputs(facts: HeadFacts) -> None:
    _check(facts.task in TASKS, "task", facts.task)
    _check(isinstance(facts.head, str), "head", facts.head)
    _check(_is_whole(facts.outputs, 1, OUTPUTS - 1), "outputs", facts.outputs)
    classes = facts.classes
    if classes is None:
        return
    _check(isinstance(classes, list) and all(isinstance(name, str) for name in classes), "classes", classes)
    if len(classes) != facts.outputs:
        raise ValueError(f"{len(classes)} classes for {facts.outputs} outputs")
    if len(set(classes)) < len(classes):
        _check(False, "classes, of which one is there twice", classes)


def _check_codec(codec: dict[str, Any]) -> None:
    _check(isinstance(codec.get("name"), str) and codec["name"] != "", "name of its codec", codec.get("name"))
    _check(isinstance(codec.get("weights_hash"), str | None), "weights of its codec", codec.get("weights_hash"))
    _check(isinstance(codec.get("tables_hash"), dict | None), "tables of its codec", codec.get("tables_hash"))


def _check_settings(settings: dict[str, Any], axes: int) -> None:
    """What `transcode` could have written, as it says how files are read."""
    kind = "image" if axes == 2 else "audio"
    wrong = settings.keys() - {"codec", "kind", "weights", "options", "views", "resize", "crop", "format"}
    _check(not wrong, "settings that there are not", sorted(map(str, wrong)))
    for name in ("codec", "weights"):
        _check(isinstance(settings.get(name), str), f"settings: {name}", settings.get(name))
    _check(settings.get("kind") == kind, f"settings: kind, of {kind}", settings.get("kind"))
    for name in ("resize", "crop"):
        value = settings.get(name)
        _check(value is None or (kind == "image" and _is_whole(value, 1, SIDE)), f"settings: {name}", value)
    options, views = settings.get("options", {}), settings.get("views", [])
    _check(isinstance(views, list) and all(isinstance(view, str) for view in views), "settings: views", views)
    _check(isinstance(settings.get("format", ""), str), "settings: format", settings.get("format"))
    plain = isinstance(options, dict) and all(
        value is None or isinstance(value, str | bool) or _is_number(value) for value in options.values()
    )
    _check(plain, "settings: options", options)
    most = options.get("max_pixels")
    _check(most is None or _is_whole(most, 1, 1 << 40), "settings: max_pixels", most)


def _check_asked(facts: HeadFacts) -> None:
    """What its task was told: of tags their column, of dense heads their targets."""
    asked = facts.asked
    if "tags" in asked:
        _check(isinstance(asked["tags"], str) and facts.classes is not None, "tags", asked["tags"])
    if facts.task != "dense":
        return
    _check(isinstance(asked.get("mode", ""), str), "mode of its targets", asked.get("mode"))
    if asked.get("targets") == "classes":
        numbers, palette = asked["numbers"], asked.get("palette")
        good = isinstance(numbers, list) and all(_is_whole(n, 0, 254) for n in numbers)
        _check(good and [str(n) for n in numbers] == facts.classes, "numbers of its classes", numbers)
        good = isinstance(palette, list) and len(palette) <= 768 and all(_is_whole(v, 0, 255) for v in palette)
        _check(palette is None or good, "palette", palette)
        return
    _check(asked.get("targets") == "values", "targets", asked.get("targets"))
    mean, std = asked["mean"], asked["std"]
    _check(isinstance(mean, list) and len(mean) == facts.outputs in (1, 3), "mean of its targets", mean)
    _check(isinstance(std, list) and len(std) == facts.outputs, "std of its targets", std)
    _check_numbers("mean of its targets", mean)
    _check_numbers("std of its targets", std, above=0)
