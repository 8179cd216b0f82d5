# SPDX-License-Identifier: Apache-2.0
"""The part of a network that reads what devices send: streams of one codec to latents, latents to logits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.bitstream import TrackHeader
from isthmus.bitstream.reader import read_header
from isthmus.codecs.registry import describe
from isthmus.devices import check_device, usual_settings
from isthmus.errors import CorruptStreamError, IsthmusError, WeightsMismatchError
from isthmus.inference import run_each
from isthmus.models.heads.saved import HeadFacts, digest_of, load_head
from isthmus.signals import ImageSignal
from isthmus.split.reading import open_codec

USUAL_PIXELS = 1 << 20  # of an image, where the head's data set was of no one size
ROOM = 4  # times the pixels of the data set's crops
PART = 1 << 16  # numbers of latents that a thread takes at once, whose features caches may hold


class Tail:
    """A trained head and its codec, for streams of images.

    digest: what names the head to devices. max_pixels: of an image, beyond which a stream is refused before memory is
    taken; else four times those of the head's crops, or 2**20.

    facts: of the head. hash: the digest. names: of its classes.

    Raises WeightsMismatchError for another codec than the head's, ValueError for a head that says no classes of images.
    """

    def __init__(
        self, head: nn.Module, facts: HeadFacts, codec: Any, digest: str, device: str = "cpu", *,
        max_pixels: int | None = None,
    ) -> None:  # fmt: skip
        kind = facts.settings.get("kind")
        if kind != "image" or facts.task == "dense":
            raise ValueError(f"a head of {facts.task} ({kind}); served are heads that say classes of images")
        self.facts, self.codec = facts, codec
        own: dict[str, str] = codec.tables_hashes
        self.tables = dict(facts.codec.get("tables_hash") or own)
        if not all(own.get(name) == tables for name, tables in self.tables.items()):
            raise WeightsMismatchError(
                f"{codec.name} has entropy tables {own}, the head's latents are of {self.tables} "
                f"({facts.codec['name']})"
            )
        self.device = check_device(device)
        self.head = head.to(self.device)
        crop = facts.settings.get("crop")
        self.max_pixels = max_pixels or (ROOM * crop * crop if crop else USUAL_PIXELS)
        self.names = facts.names
        self.hash = digest

    @classmethod
    def open(
        cls, run: Path | str, codec: str | None = None, device: str = "cpu", *, max_pixels: int | None = None
    ) -> "Tail":
        """That of a run: the folder of a training that has ended, or its head.safetensors.

        codec: the weights file of the head's codec, where that neither ships nor lies beside the head. The digest is
        16 hexadecimal digits of the SHA-256 of the head's file. Raises UnreadableFileError, CorruptStreamError,
        UnknownCodecError, WeightsMismatchError, ValueError.
        """
        path = Path(run)
        head, facts = load_head(path)
        try:
            return cls(
                head, facts, open_codec(facts.codec, codec, beside=path), digest_of(path), device, max_pixels=max_pixels
            )
        except ValueError as error:
            raise ValueError(f"{run}: {error}") from None

    def unpack(self, data: Sequence[bytes]) -> tuple[list[Tensor], dict[int, IsthmusError]]:
        """Streams to latents, float32 [c, h, w] on the CPU, in order; and the errors of the others, by their place.

        An error is a CorruptStreamError for what is broken or too large, an UnknownCodecError or a
        WeightsMismatchError for what is of another codec.
        """
        errors: dict[int, IsthmusError] = {}
        for place, one in enumerate(data):
            try:
                self.admit(read_header(one))
            except IsthmusError as error:
                errors[place] = error
        places = [place for place in range(len(data)) if place not in errors]
        with usual_settings(), torch.inference_mode():
            found = self.codec.unpack_batch([data[place] for place in places], errors="return")
            latents = [latent.dequantize()["y"] for latent in found.latents]
        for number, broken in found.errors.items():  # which name a place among those that were admitted
            told = str(broken).removeprefix(f"stream {number} of {len(places)}: ")
            errors[places[number]] = type(broken)(told)
        return latents, errors

    def reads(self, header: TrackHeader) -> bool:
        """Whether a stream is of the head's codec."""
        same = self.tables.get(header.codec_id) == header.tables_hash
        return same and self.facts.codec["weights_hash"] == header.weights_hash

    def admit(self, header: TrackHeader) -> None:
        """Raises WeightsMismatchError for a stream of another codec, CorruptStreamError for one that is too large."""
        told = self.facts.codec
        if not self.reads(header):
            raise WeightsMismatchError(
                f"sent: a stream of {describe(header)['codec'] or 'a codec that does not ship'} ({header.codec_id}, "
                f"tables {header.tables_hash}, weights {header.weights_hash}); expected: {told['name']} "
                f"({' or '.join(f'{i}, tables {tables}' for i, tables in self.tables.items())}, weights "
                f"{told['weights_hash']}): encode with that codec"
            )
        signal = header.signal
        if isinstance(signal, ImageSignal) and signal.height * signal.width > self.max_pixels:
            raise CorruptStreamError(
                f"sent: an image of {signal}, {signal.height * signal.width:,} pixels; at most {self.max_pixels:,} are "
                "taken: scale it down"
            )

    def logits(self, latents: Tensor) -> Tensor:
        """Latents of one shape, float32 [n, c, h, w], to float32 [n, outputs] on the CPU.

        Raises MemoryError where the device has no room for them.
        """
        try:
            if self.device == "cpu":
                return torch.cat(run_each(self._compute, torch.split(latents, _part(latents))))
            with usual_settings(), torch.inference_mode():
                return self._compute(latents.to(self.device)).cpu()
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(f"{len(latents)} latents at once are too many for {self.device}") from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # what torch's allocator of the CPU says
                raise MemoryError(f"{len(latents)} latents at once are too many for the memory") from error
            raise

    def _compute(self, latents: Tensor) -> Tensor:
        found: Tensor = self.head(latents).float()
        return found

    def describe(self) -> dict[str, object]:
        """What devices must know to send to it, as JSON values."""
        facts = self.facts
        return {
            "task": facts.task, "model": facts.head, "head": self.hash, "classes": len(self.names),
            "codec": facts.codec, "settings": facts.settings, "max_pixels": self.max_pixels,
        }  # fmt: skip


def _part(latents: Tensor) -> int:
    """Of how many latents a thread's part is, so that all threads have one."""
    share = -(-len(latents) // torch.get_num_threads())
    return min(share, -(-PART // latents[0].numel()))
