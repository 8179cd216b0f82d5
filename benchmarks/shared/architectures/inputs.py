# SPDX-License-Identifier: Apache-2.0
"""Inputs for a model of any type, from its config and the signature of `forward`: several guesses, richest first."""

import inspect
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from transformers import PreTrainedConfig

from .images import Images
from .sounds import Sounds
from .tables import TABLES

TOKENS = 12  # of a text
Inputs = dict[str, Any]
TEXTS = ("input_ids", "decoder_input_ids")
EXTENTS: tuple[tuple[int, ...], ...] = ((1,), (1, 1), (1, 2), (1, 1, 4))  # a sample, images, a pair, tiles


def guesses(model: Any) -> Iterator[Inputs]:
    """Inputs to try in turn, until the model takes one."""
    seen: set[str] = set()
    for found in _all(model):
        key = str({name: getattr(value, "shape", value) for name, value in found.items()})
        if found and key not in seen:
            seen.add(key)
            yield found


def _all(model: Any) -> Iterator[Inputs]:
    names = inspect.signature(model.forward).parameters
    required = [name for name, p in names.items() if p.default is p.empty and p.kind == p.POSITIONAL_OR_KEYWORD]
    main = model.main_input_name
    layouts = list(product((True, False), EXTENTS, range(4)))  # placeholders, of pixel_values, of sounds
    for placed, extent, sounds in layouts:
        guess = _Guess(model, extent, sounds)
        yield guess.filled([name for name in names if name in required or name == main or guess.has(name)], placed)
    for extent, sounds in product(EXTENTS, range(4)):
        guess = _Guess(model, extent, sounds)
        wide = [name for name in names if name in required or name == main or guess.has(name)]
        for left in wide:
            if left not in required:
                yield guess.filled([name for name in wide if name != left], placed=True)
        yield guess.filled([name for name in names if name in required or name == main], placed=False)


class _Guess:
    """One way to fill a signature. extent: of pixel_values before the channels; sounds: the layout of audio."""

    def __init__(self, model: Any, extent: tuple[int, ...], sounds: int) -> None:
        self.model, self.config = model, model.config
        self.generator = torch.Generator().manual_seed(1)
        self.names = inspect.signature(model.forward).parameters
        self.images = Images(self.config, self.names, extent, self.noise)
        self.sounds = Sounds(self.config, sounds, self.noise)

    def filled(self, names: list[str], placed: bool) -> Inputs:
        """Values of these parameters, with placeholders where `placed`; none where the config makes no sense so."""
        try:
            found = {name: value for name in names if (value := self.value(name)) is not None}
            if placed:
                self.place(found)
        except Exception:
            return {}
        return found

    def noise(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator).to(self.model.dtype)

    def tokens(self, *shape: int, vocabulary: int = 0) -> torch.Tensor:
        size = vocabulary or vocabulary_of(self.config)
        return torch.randint(min(10, size - 1), min(size, 800), shape, generator=self.generator)

    def has(self, name: str) -> bool:
        return name in TEXTS or name in TABLES or self.images.has(name) or self.sounds.has(name)

    def value(self, name: str) -> Any:
        if name in TABLES:
            return TABLES[name](self)
        if self.images.has(name):
            return self.images.value(name)
        if self.sounds.has(name):
            return self.sounds.value(name)
        if name == "input_ids" or name.endswith("input_ids"):
            return self.tokens(self.images.batch, TOKENS)
        return None

    def place(self, found: Inputs) -> None:
        """Puts as many placeholders before the text as the features of an image or a sound are."""
        for token, method in (("image", "get_image_features"), ("audio", "get_audio_features")):
            number = token_of(self.config, token)
            if number is None or not hasattr(self.model, method) or "input_ids" not in found:
                continue
            takes = inspect.signature(getattr(self.model, method)).parameters
            given = {name: found[name] for name in takes if name in found and name != "input_ids"}
            if not given:
                continue
            with torch.no_grad():
                features = getattr(self.model, method)(**given)
            rows = _rows(features)
            batch = found["input_ids"].shape[0]
            marks = torch.full((batch, rows // batch), number)
            found["input_ids"] = torch.cat([found["input_ids"][:, :4], marks, found["input_ids"][:, 4:]], 1)
            for name in ("mm_token_type_ids", "token_type_ids"):
                if name in self.names:
                    found[name] = (found["input_ids"] == number).long()


def _rows(features: Any) -> int:
    """How many vectors the features of images or sounds are."""
    features = getattr(features, "pooler_output", features)
    if isinstance(features, (list, tuple)):
        return sum(_rows(one) for one in features)
    return features.numel() // features.shape[-1]


def token_of(config: PreTrainedConfig, kind: str) -> int | None:
    """The number of the token that stands for a part of an image or a sound."""
    for name in (f"{kind}_token_id", f"{kind}_token_index", f"{kind}_placeholder_id"):
        if isinstance(number := getattr(config, name, None), int):
            return number
    return None


def vocabulary_of(config: PreTrainedConfig) -> int:
    """How many tokens the text part knows."""
    for name in ("vocab_size", "text_vocab_size", "src_vocab_size"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    for name in ("text_config", "llm_config", "language_config", "decoder", "encoder", "thinker_config"):
        part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig):
            return vocabulary_of(part)
    return 256
