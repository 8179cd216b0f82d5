# SPDX-License-Identifier: Apache-2.0
"""What a head reads: latents of its codec, made of files as those of its data set were."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.arrays.resizing import fit
from isthmus.codecs.base import Latent
from isthmus.codecs.registry import OF_RUN, load, shipped
from isthmus.errors import UnknownCodecError, UnreadableFileError, WeightsMismatchError
from isthmus.media import kinds


def open_codec(
    told: Mapping[str, Any], named: str | None = None, device: str = "cpu", *, beside: Path | None = None
) -> Any:
    """The codec of a head. told: its name and hashes, as `HeadFacts.codec` has them.

    named: the weights file of that codec, where it does not ship; else that of the run, a folder or a file in it, which
    is `beside`. Raises UnknownCodecError where it is not at hand, WeightsMismatchError for another.
    """
    name = named or str(told["name"])
    if named is None and beside is not None and shipped(name) is None:
        lies = (beside if beside.is_dir() else beside.parent) / OF_RUN
        name = str(lies) if lies.is_file() else name
    try:
        codec: Any = load(name, device)
    except (UnknownCodecError, UnreadableFileError) as error:
        raise type(error)(f"{error}; name the weights file of the head's data set (--codec)") from None
    own = getattr(codec, "weights_hash", None)
    if own != told.get("weights_hash"):
        raise WeightsMismatchError(
            f"{name} has weights {own}, the head's latents are of {told.get('weights_hash')} ({told.get('name')})"
        )
    return codec


def analyze_file(codec: Any, path: Path, settings: Mapping[str, Any], **options: Any) -> Latent:
    """Latents of a photograph or a sound. settings: of the data set, as `HeadFacts.settings` has them.

    options: of encoding, instead of those of the settings. Raises UnreadableFileError, ValueError.
    """
    given = {**settings.get("options", {}), **options}
    samples, told = kinds.read(path, settings["kind"], given)
    if settings["kind"] == "image":
        try:
            samples, _ = fit(samples, settings.get("resize"), settings.get("crop"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    latent: Latent = codec.analyze(samples, **told, **given)
    return latent
