# SPDX-License-Identifier: Apache-2.0
"""Factorized latents of many items in one call: for each, a table and an offset a channel, then the planes.

`isthmus.entropy.models.factorized` says what they mean; payloads, bounds and statuses are those of `batch`.
"""

import numpy as np

from isthmus.kernels.compiled import kernel
from isthmus.kernels.rans.batch import (
    BAD_CHOICE,
    BAD_ESCAPES,
    BAD_VALUE,
    BAD_WORDS,
    LEFT_OVER,
    LOWER,
    MOST_LANES,
    OK,
    choose_lanes,
    is_closed,
    open_payload,
    write_payload,
)
from isthmus.kernels.rans.lanes import ESCAPE_BYTES, WORD_PADDING, decode, encode
from isthmus.kernels.rans.symbols import find_entries, measure, write_escapes

MOST_OFFSET = 1 << 15


@kernel
def _decode_head(part, usual, scales, tables, words, states, run, chosen, offsets):  # type: ignore[no-untyped-def]
    """Table and offset of each channel of one item: its status, and where in its bytes what is."""
    status, lanes, count, begin = open_payload(part, states, words)
    if status != OK:
        return status, lanes, count, begin, 0, 0
    used, escapes, here = states[:lanes], part[begin:], words[: count + WORD_PADDING]
    channels = len(chosen)
    at, escape_at = np.int64(0), np.int64(0)
    for k in range(2):
        run[0] = scales + k
        out = chosen if k == 0 else offsets
        at, escape_at = decode(run, 0, k * channels, tables, used, here, escapes, at, escape_at, out)
        if at < 0 or escape_at < 0:
            return BAD_WORDS if at < 0 else BAD_ESCAPES, lanes, count, begin, 0, 0
    for c in range(channels):
        table = np.int64(chosen[c]) + np.int64(usual[c])
        if table < 0 or table >= scales or abs(np.int64(offsets[c])) > MOST_OFFSET:
            return BAD_CHOICE, lanes, count, begin, 0, 0
        chosen[c] = table
    return OK, lanes, count, begin, at, escape_at


@kernel
def _decode_planes(part, usual, scales, tables, words, states, values, run, planes, chosen, offsets):  # type: ignore[no-untyped-def]
    """Status and lanes of one item; see `decode_planes`. values: int32 scratch of a plane; run: uint16 [1]."""
    status, lanes, count, begin, at, escape_at = _decode_head(
        part, usual, scales, tables, words, states, run, chosen, offsets
    )
    if status != OK:
        return status, 0
    used, escapes, here = states[:lanes], part[begin:], words[: count + WORD_PADDING]
    channels, area = planes.shape
    for c in range(channels):
        run[0] = chosen[c]
        first = 2 * channels + c * area
        at, escape_at = decode(run, 0, first, tables, used, here, escapes, at, escape_at, values)
        if at < 0 or escape_at < 0:
            return BAD_WORDS if at < 0 else BAD_ESCAPES, 0
        plane, offset, bad = planes[c], np.int64(offsets[c]), False
        for i in range(area):
            value = values[i] + offset
            bad |= value < -32768 or value > 32767
            plane[i] = value
        if bad:
            return BAD_VALUE, 0
    return OK if is_closed(used, at, count, escape_at, len(escapes)) else LEFT_OVER, lanes


@kernel
def _room(bounds):  # type: ignore[no-untyped-def]
    """Scratch for the words and states of the largest item, and for a table's number."""
    most = 0
    for i in range(len(bounds) - 1):
        most = max(most, bounds[i + 1] - bounds[i])
    return np.empty(most // 2 + WORD_PADDING, np.uint16), np.empty(MOST_LANES, np.uint32), np.empty(1, np.uint16)


@kernel
def decode_planes(data, bounds, usual, scales, tables, planes, chosen, offsets, lanes, status):  # type: ignore[no-untyped-def]
    """Decodes int16 planes [items, c, area], int32 chosen and offsets [items, c], lanes [items]; stops at a bad item.

    usual: [items, c] tables that choices are relative to; tables `scales` and `scales` + 1 code choices and offsets.
    """
    words, states, run = _room(bounds)
    values = np.empty(planes.shape[2], np.int32)
    for i in range(len(planes)):
        part = data[bounds[i] : bounds[i + 1]]
        status[i], lanes[i] = _decode_planes(
            part, usual[i], scales, tables, words, states, values, run, planes[i], chosen[i], offsets[i]
        )
        if status[i] != OK:
            return


@kernel
def decode_heads(data, bounds, usual, scales, tables, chosen, offsets, lanes, status):  # type: ignore[no-untyped-def]
    """As `decode_planes`, but for the planes, which are left to who knows then which tables code them."""
    words, states, run = _room(bounds)
    for i in range(len(chosen)):
        part = data[bounds[i] : bounds[i + 1]]
        found = _decode_head(part, usual[i], scales, tables, words, states, run, chosen[i], offsets[i])
        status[i], lanes[i] = found[0], found[1]
        if status[i] != OK:
            return


@kernel
def choose(planes, costs, tables, offsets):  # type: ignore[no-untyped-def]
    """The offset (nearest integer to the mean) and the cheapest table of each of the planes [c, area]; what they cost.

    costs: int64 [2 reach + 1, K] of the values -reach .. reach under each table; values beyond count at the ends.
    """
    bins, scales = costs.shape
    reach = bins >> 1
    area = planes.shape[1]
    histogram, sums = np.zeros(bins, np.int64), np.empty(scales, np.int64)
    cost = np.int64(0)
    for c in range(len(planes)):
        total = np.int64(0)
        for value in planes[c]:
            total += np.int64(value)
        offset = (2 * total + area) // (2 * area)
        for value in planes[c]:
            histogram[min(max(np.int64(value) - offset + reach, 0), bins - 1)] += 1
        sums[:] = 0
        for b in range(bins):
            if histogram[b]:
                row, number = costs[b], histogram[b]
                for k in range(scales):
                    sums[k] += number * row[k]
                histogram[b] = 0
        offsets[c] = offset
        tables[c] = np.argmin(sums)
        cost += sums[tables[c]]
    return cost


@kernel
def _find(values, table, family, entries, escaped, varints, used):  # type: ignore[no-untyped-def]
    """Entries of one run, and its escapes behind `used` bytes of varints; the bytes then used."""
    low, size, starts = family
    if find_entries(values, table, 0, low, size, starts, entries, escaped):
        places = np.flatnonzero(escaped)
        return used + write_escapes(values, places, table, 0, low, size, varints[used:])
    return used


@kernel
def encode_planes(planes, usual, scales, family, costs, rows, precision, cost_per_lane, tables, offsets, lanes, out, bounds):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Encodes int16 planes [items, c, area] to uint8 `out`; writes where each payload ends to bounds[1:].

    family: lows, sizes, starts; tables, offsets: int32 [items, c], what `choose` found; lanes: [items], 0 for as many
    as `choose_lanes` says. out: as in `batch.encode_items`.
    """
    channels, area = planes.shape[1:]
    n = channels * (area + 2)
    entries, escaped = np.empty(n, np.uint32), np.empty(n, np.bool_)
    words, varints = np.empty(n, np.uint16), np.empty(n * ESCAPE_BYTES, np.uint8)
    states, run = np.empty(MOST_LANES, np.uint32), np.empty(1, np.uint16)
    values = np.empty(max(area, channels), np.int32)
    for i in range(len(planes)):
        used, begin = 0, 0
        for k in range(channels + 2):
            length = channels if k < 2 else area
            part = values[:length]
            if k == 0:
                for c in range(channels):
                    part[c] = tables[i, c] - usual[i, c]
            elif k == 1:
                for c in range(channels):
                    part[c] = offsets[i, c]
            else:
                plane, offset = planes[i, k - 2], offsets[i, k - 2]
                for x in range(area):
                    part[x] = plane[x] - offset
            run[0] = scales + k if k < 2 else tables[i, k - 2]
            end = begin + length
            used = _find(part, run, family, entries[begin:end], escaped[begin:end], varints, used)
            begin = end
        count = lanes[i]
        if count == 0:
            count = choose_lanes(measure(entries, costs, MOST_LANES * cost_per_lane), cost_per_lane)
        states[:count] = LOWER
        at = encode(entries, 0, rows, precision, states[:count], words, n)
        bounds[i + 1] = bounds[i] + write_payload(states[:count], words[at:], varints[:used], out[bounds[i] :])
