# SPDX-License-Identifier: Apache-2.0
"""The picture of a comparison: a column each for the original and every codec; whole, close up, and what is lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

# Name and lines of text, and the uint8 [H,W,3] that was decoded.
Column = tuple[tuple[str, list[str]], np.ndarray]

_CELL, _GAP, _MARGIN = 460, 18, 28
_CLOSE_HEIGHT = 345
_ZOOM = 3  # close-ups show each pixel as a square of at least this side
_AMPLIFY = 8
_PAPER, _INK, _SOFT, _MARK = (246, 246, 246), (20, 20, 20), (100, 100, 100), (230, 60, 0)
_SEARCH_SIDE = 4096
_DETAIL_LIMIT = 24  # a gradient counts no more than this, so that one hard edge does not outweigh texture


def draw_sheet(columns: Sequence[Column], title: str) -> "Image.Image":
    """An RGB sheet of the original, which is the first column, beside each decoded image of the same shape.

    Rows: the whole image, scaled to fit; the most detailed part, pixel by pixel, enlarged; the absolute difference
    from the original, amplified.
    """
    from PIL import Image, ImageDraw

    heads, images = [head for head, _ in columns], [image for _, image in columns]
    height, width = images[0].shape[:2]
    scale = min(_CELL / width, _CELL / height)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    crop_height, crop_width = min(height, _CLOSE_HEIGHT // _ZOOM), min(width, _CELL // _ZOOM)
    zoom = max(_ZOOM, min(_CLOSE_HEIGHT // crop_height, _CELL // crop_width))
    top, left = most_detailed(images[0], crop_height, crop_width)
    close_up = (slice(top, top + crop_height), slice(left, left + crop_width))
    rows = [
        [_fit(image, shown) for image in images],
        [_enlarge(image[close_up], zoom) for image in images],
        [_explanation()] + [_fit(_difference(images[0], image), shown) for image in images[1:]],
    ]
    labels = [
        "whole image",
        f"most detailed part, {zoom} times enlarged",
        f"difference from the original, x{_AMPLIFY}",
    ]

    title_height = 52 if title else 0
    head_height, label_height = 92, 34
    sheet = Image.new(
        "RGB",
        (
            2 * _MARGIN + len(images) * (_CELL + _GAP) - _GAP,
            2 * _MARGIN
            + title_height
            + head_height
            + sum(max(cell.height for cell in row) + label_height for row in rows),
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, _MARGIN - 6), title, _INK, _font(28))
    y = _MARGIN + title_height
    for i, (name, lines) in enumerate(heads):
        x = _MARGIN + i * (_CELL + _GAP)
        draw.text((x, y), name, _INK, _font(26))
        for k, line in enumerate(lines):
            draw.text((x, y + 34 + 24 * k), line, _INK, _font(19))
    y += head_height
    for label, row in zip(labels, rows, strict=True):
        draw.text((_MARGIN, y + 6), label, _SOFT, _font(18))
        y += label_height
        for i, picture in enumerate(row):
            sheet.paste(picture, (_MARGIN + i * (_CELL + _GAP), y))
        if row is rows[0]:
            _mark(draw, (_MARGIN, y), close_up, scale)
        y += max(cell.height for cell in row)
    return sheet


def most_detailed(image: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """Top and left of the `height` x `width` window of uint8 [H,W,3] that holds the most texture.

    Texture is the sum of luma differences between neighbours, each limited. Windows start at multiples of 8 pixels,
    and at the last row and column. Of an image of more than 4096 pixels a side only each n-th pixel is looked at.
    """
    step = -(-max(image.shape[:2]) // _SEARCH_SIDE)
    if step > 1:  # bounds the memory of the sums below
        top, left = most_detailed(image[::step, ::step], max(1, height // step), max(1, width // step))
        return min(top * step, image.shape[0] - height), min(left * step, image.shape[1] - width)
    luma = (image.astype(np.int32) @ np.array([77, 150, 29], np.int32)) >> 8
    energy = np.zeros(luma.shape, np.int64)
    energy[:, 1:] += np.minimum(np.abs(np.diff(luma, axis=1)), _DETAIL_LIMIT)
    energy[1:, :] += np.minimum(np.abs(np.diff(luma, axis=0)), _DETAIL_LIMIT)
    total = np.pad(energy.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    tops = np.unique(np.append(np.arange(0, luma.shape[0] - height + 1, 8), luma.shape[0] - height))
    lefts = np.unique(np.append(np.arange(0, luma.shape[1] - width + 1, 8), luma.shape[1] - width))
    sums = (
        total[np.ix_(tops + height, lefts + width)]
        - total[np.ix_(tops, lefts + width)]
        - total[np.ix_(tops + height, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(tops[row]), int(lefts[column])


def _difference(original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    apart = np.maximum(original, decoded) - np.minimum(original, decoded)
    amplified: np.ndarray = np.minimum(apart, 255 // _AMPLIFY) * np.uint8(_AMPLIFY)
    return amplified


def _fit(image: np.ndarray, size: tuple[int, int]) -> "Image.Image":
    """Scaled to (width, height): smoothly when it shrinks, in whole squares when it grows."""
    from PIL import Image

    method = Image.Resampling.LANCZOS if size[0] < image.shape[1] else Image.Resampling.NEAREST
    return Image.fromarray(image).resize(size, method)


def _enlarge(image: np.ndarray, factor: int) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))


def _explanation() -> "Image.Image":
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (_CELL, 240), _PAPER)
    text = (
        f"Each pixel shows how far the\ndecoded value is from the\noriginal, times {_AMPLIFY}.\n\n"
        "Black: nothing lost.\n\n"
        "All numbers are measured on\nthe image at full size."
    )
    ImageDraw.Draw(panel).multiline_text((0, 4), text, _SOFT, _font(19), spacing=6)
    return panel


def _mark(draw: "ImageDraw.ImageDraw", origin: tuple[int, int], close_up: tuple[slice, slice], scale: float) -> None:
    rows, columns = close_up
    box = [
        origin[0] + round(columns.start * scale),
        origin[1] + round(rows.start * scale),
        origin[0] + max(round(columns.stop * scale) - 1, round(columns.start * scale)),
        origin[1] + max(round(rows.stop * scale) - 1, round(rows.start * scale)),
    ]
    draw.rectangle(box, outline=_MARK, width=3)


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)
