# SPDX-License-Identifier: Apache-2.0
"""Targets: found by key, brought to the size and view of their image, and refused where they do not fit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.arrays.pixels import PrecisionWarning
from isthmus.datasets import LatentDataset
from isthmus.errors import UnreadableFileError
from isthmus.media.masks import read_mask
from isthmus.models.heads import LatentInput
from isthmus.models.heads.facts import jsonable
from isthmus.training.heads.dense import DENSE, Pictures, train_dense
from isthmus.training.heads.dense.judged import JudgedValues
from isthmus.training.heads.dense.kinds import Classes, Values
from isthmus.training.heads.dense.survey import survey
from isthmus.training.heads.dense.views import PairedViews
from tests.training.heads.dense.conftest import CODEC, encoded, scenes

TINY = replace(DENSE, head="dense-tiny", epochs=0.1, batch=8)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return scenes(tmp_path / "few", 4, 5)


def saved(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_views_crops_and_sizes_are_those_of_the_images(few: Path) -> None:
    data = encoded(few, views=["hflip", "crops:2"], resize=40, crop=32, quality=100)
    values, masks = Pictures(data, few / "images"), Pictures(data, few / "masks")
    assert values.are == "values" and masks.are == "classes" and len(values) == 16 and values.note is None
    for place, sample in enumerate(data):
        decoded = data.to_samples(place, output="numpy").astype(float)
        errors = [np.abs(decoded - values[other]).mean() for other in range(16)]
        assert errors[place] == min(errors) and sorted(errors)[1] > 1.5 * min(errors), (sample["key"], sample["view"])
        assert masks[place].shape == (32, 32, 1) and set(np.unique(masks[place])) <= {0, 1, 7, 255}
    flipped = next(place for place, sample in enumerate(data) if sample["view"] == "hflip")
    assert (masks[flipped] == masks[flipped - 1][:, ::-1]).all()


def test_other_sizes_are_padded_and_left_out_of_the_loss(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images", "masks"):
        path = few / name / "0" / "0.png"
        Image.open(path).crop((0, 0, 37, 29)).save(path)
    data = encoded(few)
    found = survey(data, Pictures(data, few / "masks"), LatentInput.of(data), 0)
    paired = found.kind.paired(data, Pictures(data, few / "masks"), 8)
    target = paired[0]["target"]
    assert target.shape == (1, 32, 40) and (target[:, 29:] == -1).all() and (target[:, :, 37:] == -1).all()
    assert train_dense(data, few / "masks", TINY, few / "run", validation=data, validation_targets=few / "masks")
    assert "samples of several sizes: no flips" in capsys.readouterr().err
    out, truth = torch.zeros(1, 3, 32, 40), target[None]
    assert float(found.kind.loss(out, truth, 0.0)) == pytest.approx(np.log(3))
    assert float(found.kind.loss(out, torch.full_like(truth, -1), 0.1)) == 0  # and no nan
    assert float(Values([0.0], [1.0]).loss(out[:, :1] + 300, truth.clamp_max(0), 0.0)) == 300**2


def test_latents_and_targets_are_cut_and_flipped_alike(scene_folder: Path) -> None:
    data = LatentDataset(scene_folder / "latents")
    views = PairedViews(replace(DENSE, crop=3, flip=0.5), data, 8, np.full(len(data), 48))
    cells = torch.arange(36.0).reshape(1, 1, 6, 6).expand(64, 12, 6, 6)
    pixels = cells[:, :1].repeat_interleave(8, 2).repeat_interleave(8, 3).to(torch.int16)
    views.flip = lambda y: y.flip(-1)  # type: ignore[assignment]
    y, target = views(cells, pixels)
    assert y.shape == (64, 12, 3, 3) and target.shape == (64, 1, 24, 24)
    assert torch.equal(y[:, :1].repeat_interleave(8, 2).repeat_interleave(8, 3).to(torch.int16), target)
    assert len({tuple(one.flatten().tolist()) for one in y[:, 0]}) > 16
    assert 8 < int((y[:, 0, 0, 0] > y[:, 0, 0, 1]).sum()) < 56
    odd = PairedViews(DENSE, data, 8, np.full(len(data), 47))
    assert odd.flip is None and "no multiples of 8" in str(odd.note)
    with pytest.raises(ValueError, match="no more than they have"):
        PairedViews(replace(DENSE, crop=7), data, 8, None)
    with pytest.raises(ValueError, match="pictures are not mixed"):
        PairedViews(replace(DENSE, mixing="mixup"), data, 8, None)


def test_numbers_of_masks_are_those_of_the_file(tmp_path: Path) -> None:
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert (read_mask(saved(tmp_path / "a.png", mask), 99)[..., 0] == mask).all()
    Image.fromarray(mask > 7).save(tmp_path / "b.png")
    assert (read_mask(tmp_path / "b.png", 99)[..., 0] == (mask > 7)).all()
    data = bytearray(saved(tmp_path / "c.png", mask).read_bytes())
    four = Image.fromarray(mask)
    four.putpalette([0, 0, 0] * 16)
    four.save(tmp_path / "d.png", bits=4)
    assert (read_mask(tmp_path / "d.png", 99)[..., 0] == mask).all()
    for name, pixels, options, message in (
        ("x.jpg", mask, {}, "JPEG changes samples"),
        ("x.png", mask.astype(np.uint16), {}, "16 bits a sample; expected 8: at most 255 classes"),
        ("y.png", np.zeros((4, 4, 3), np.uint8), {}, r"colours \(RGB\) where classes"),
        ("z.png", np.zeros((10, 10), np.uint8), {}, "10x10 pixels; at most 99"),
    ):
        with pytest.raises(UnreadableFileError, match=message):
            read_mask(saved(tmp_path / name, pixels, **options), 99)
    (tmp_path / "c.png").write_bytes(data[:50])
    with pytest.raises(UnreadableFileError, match=r"c\.png"):
        read_mask(tmp_path / "c.png", 99)


def test_grey_of_four_bits_keeps_its_numbers(tmp_path: Path) -> None:
    """Which Pillow spreads over 0 to 255, so that 15 would mean that nothing is known."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"\0\x01\xf0\0\x23\x4f"  # 0 1 15 0, then 2 3 4 15
    png = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 4, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png + chunk(b"IEND", b""))
    assert read_mask(tmp_path / "a.png", 99)[..., 0].tolist() == [[0, 1, 15, 0], [2, 3, 4, 15]]


def test_what_does_not_fit_is_refused(few: Path, scene_folder: Path, tmp_path: Path) -> None:
    data, run = encoded(few), tmp_path / "run"

    def refused(folder: Path, message: str, what: Any = ValueError, recipe: Any = TINY, **options: Any) -> None:
        with pytest.raises(what, match=message):
            train_dense(options.pop("data", data), folder, recipe, run, **options)

    refused(scene_folder / "latents", "no image files", UnreadableFileError)
    refused(few / "masks", "needs both", validation=data)
    refused(few / "masks", "no value for every pixel; expected dense-s", recipe=replace(TINY, head="vit-s"))
    refused(few / "images", "it is of classes", recipe=replace(TINY, smoothing=0.1))
    refused(
        few / "masks", "latents of audio; a value for every pixel needs", data=SimpleNamespace(kind="audio", path="")
    )
    refused(few / "images", r"colours \(RGB\) where classes are expected", UnreadableFileError, are="classes")
    refused(few / "masks", "targets of one kind", validation=data, validation_targets=few / "images")
    refused(few / "masks", "make both with one codec", validation_targets=few / "masks",
            validation=LatentDataset(few / "images", codec="walloc-image-f8c48"))  # fmt: skip
    more = LatentDataset(scene_folder / "latents")
    refused(few / "masks", r"28 of 32 samples .* have no target, '0/10.png' first: expected .*masks/0/10", data=more)
    twice = saved(few / "masks" / "0" / "0.tif", np.zeros((48, 48), np.uint8))
    assert Pictures(data, few / "masks").files[0].suffix == ".png"  # that of the very name of the sample
    twice.rename(few / "masks" / "0" / "0.gif")
    (few / "masks" / "0" / "0.png").rename(few / "masks" / "0" / "0.bmp")
    refused(few / "masks", "more than one target")
    (few / "masks" / "0" / "0.bmp").unlink()
    grey, flat, nothing = few / "flat", few / "one", few / "nothing"
    for key in Pictures(data, few / "images").keys:
        saved(flat / key, np.full((48, 48), 3, np.uint8))
        saved(nothing / key, np.full((48, 48), 255, np.uint8))
        saved(grey / key, np.zeros((48, 40), np.uint8))
    refused(flat, "all masks are of one class, 3;")
    refused(flat, "all targets are of one value", are="values")
    refused(nothing, "all pixels of all masks are 255")
    refused(grey, "40x48 pixels, brought to the size of the latents; sample '0/0.png' is 48x48")
    cropped = encoded(few, into="cropped", crop=32)
    refused(grey, "40x48 pixels, its image .* is 48x48: a target has the size", data=cropped)
    with pytest.raises(ValueError, match="class 7, which no target of the training has"):
        Classes([0, 1], None).paired(data, Pictures(data, few / "masks", "classes"), 8).__getitems__([0, 1, 2, 3])
    folder = LatentDataset(few / "images", codec=CODEC)
    assert len(Pictures(folder, few / "images")) == 4


def test_warnings_of_pictures_are_told_once(few: Path) -> None:
    for path in (few / "grey").rglob("*.png"):
        saved(path, np.asarray(Image.open(path)).astype(np.uint16) * 257)
    data = LatentDataset(encoded(few).path)
    with pytest.warns(PrecisionWarning, match="others like it are not told") as caught:
        pictures = Pictures(data, few / "grey")
        assert pictures.are == "values" and all(pictures[place].dtype == np.uint8 for place in range(4))
    assert len(caught) == 1


def test_masks_without_a_known_pixel_are_left_out(few: Path) -> None:
    path = few / "masks" / "0" / "0.png"
    saved(path, np.full((48, 48), 255, np.uint8))
    data = encoded(few)
    found = survey(data, Pictures(data, few / "masks"), LatentInput.of(data), 0)
    assert found.indices.tolist() == [1, 2, 3] and "1 of 4 samples, whose masks are 255 alone" in found.note


def test_no_error_is_said_so_and_is_null_in_json() -> None:
    found = JudgedValues(1, 0.0, 0.0, 4.0, 1.0)
    assert found.tell().startswith("no error") and "nan" not in found.tell() and "inf" not in found.tell()
    assert jsonable(found.describe())["psnr"] is None and jsonable(found.describe())["floor_psnr"] > 40


def test_targets_of_twice_the_size_are_refused_where_images_are_at_hand(few: Path) -> None:
    data, large = encoded(few, into="resized", resize=32), few / "large"
    for key in Pictures(data, few / "masks").keys:
        saved(large / key, np.zeros((96, 96), np.uint8))
    with pytest.raises(ValueError, match="96x96 pixels, its image .* is 48x48: a target has the size"):
        Pictures(data, large)
