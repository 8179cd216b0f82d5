# SPDX-License-Identifier: Apache-2.0
"""What the units of a sound tell beside its header: how long it is where nobody knew before, and how many there are."""

from dataclasses import replace
from typing import Any

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.registry import codec_class, codec_for
from isthmus.codecs.units import Units
from isthmus.errors import IsthmusError
from isthmus.signals import AudioSignal


def with_length(header: TrackHeader, data: Any) -> TrackHeader:
    """The header of a stream, with its number of samples where that can be known without decoding."""
    if not isinstance(header.signal, AudioSignal) or header.signal.samples is not None:
        return header
    try:
        if not codec_class(header.codec_id).in_blocks:
            return header
        found = codec_for(header).open(data, allow_loss=True).samples  # type: ignore[attr-defined]
    except IsthmusError:  # cut, damaged, or of a codec that is not at hand
        return header
    return replace(header, signal=replace(header.signal, samples=found))


def of_units(header: TrackHeader, data: Any) -> dict[str, Any]:
    """What can be told of a sound's stream, bytes or a file, without decoding it."""
    if not isinstance(header.signal, AudioSignal):
        return {}
    try:
        units = Units(None, data, allow_loss=True)  # type: ignore[arg-type]
    except IsthmusError:
        return {}
    size = data.seek(0, 2) if hasattr(data, "seek") else len(data)
    rate, tags = header.signal.rate(size), units.metadata.get("tags")
    told = {"kbit/s": None if rate is None else round(rate, 2), "units": len(units)}
    return told | ({"tags": tags} if tags else {}) | ({"cut": units.cut} if units.cut else {})
