# SPDX-License-Identifier: Apache-2.0
"""Crops: whole pixels of the right images, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.errors import UnreadableFileError
from isthmus.media.image import write_image
from isthmus.media.kinds import list_files
from isthmus.training.data.crops import ImageBank, load_rgb, to_float


def labelled(number: int, height: int, width: int) -> np.ndarray:
    """Every pixel says where it is: (row, column, image)."""
    y, x = np.mgrid[:height, :width]
    return np.stack((y, x, np.full_like(y, number)), axis=2).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", labelled(10, 40, 33))
    (tmp_path / "below").mkdir()
    write_image(tmp_path / "below" / "b.PNG", labelled(20, 16, 100))
    write_image(tmp_path / "c.png", labelled(30, 15, 200))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def files_of(folder: Path) -> list[Path]:
    return list_files(folder, "image", recursive=True)


def test_images_are_decoded_once_and_come_back(folder: Path) -> None:
    bank = ImageBank.load(files_of(folder), 16, torch.device("cpu"))
    assert [tuple(image.shape) for image in bank] == [(3, 40, 33), (3, 16, 100), (3, 15, 200)]
    for image, path in zip(bank, files_of(folder), strict=True):
        assert image.dtype == torch.uint8 and torch.equal(image, load_rgb(path))
    assert torch.equal(bank[1:][0], bank[1])


def test_load_rgb(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_image(tmp_path / "grey.png", grey)
    image = load_rgb(tmp_path / "grey.png")
    assert image.shape == (3, 3, 4) and image.dtype == torch.uint8
    assert all(np.array_equal(channel, grey) for channel in image.numpy())


def test_crops_are_flipped_and_transposed_windows(folder: Path) -> None:
    bank = ImageBank.load(files_of(folder), 16, torch.device("cpu"))
    assert len(bank) == 3 and bank.large.tolist() == [True, True, False]  # c.png is too low
    crops = bank.sample(300, 16, torch.Generator().manual_seed(1))
    assert crops.shape == (300, 3, 16, 16) and crops.dtype == torch.float32
    values = ((crops + 1) * 127.5).round().int().numpy()
    seen = set()
    for crop in values:
        images = np.unique(crop[2])
        assert len(images) == 1 and images[0] in (10, 20)
        height, width = (40, 33) if images[0] == 10 else (16, 100)
        top, left = int(crop[0].min()), int(crop[1].min())
        assert 0 <= top <= height - 16 and 0 <= left <= width - 16
        turned = crop[0, 0, 0] != crop[0, 0, -1]
        upright = crop.transpose(0, 2, 1) if turned else crop
        upright = upright[:, ::-1] if upright[0, 0, 0] > upright[0, -1, 0] else upright
        upright = upright[:, :, ::-1] if upright[1, 0, 0] > upright[1, 0, -1] else upright
        assert np.array_equal(
            upright, labelled(int(images[0]), height, width)[top:, left:][:16, :16].transpose(2, 0, 1)
        )
        seen.add((int(images[0]), turned))
    assert len(seen) == 4
    share = (values[:, 2, 0, 0] == 20).mean()
    assert share == pytest.approx(1600 / 2920, abs=0.1)  # in proportion to pixels


def test_crops_follow_the_seed(folder: Path) -> None:
    bank = ImageBank.load(files_of(folder), 16, torch.device("cpu"))
    first, again, other = (bank.sample(8, 16, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_no_image_is_large_enough(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 64 x 64 pixels among 3 files"):
        ImageBank.load(files_of(folder), 64, torch.device("cpu"))


def test_to_float() -> None:
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((9, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"1 of 2 images are left out; the first: .*b\.png: not an image"):
        bank = ImageBank.load([tmp_path / "a.png", tmp_path / "b.png"], 8, torch.device("cpu"))
    assert len(bank) == 1
    with pytest.raises(UnreadableFileError, match="not an image"):
        ImageBank.load([tmp_path / "b.png"], 8, torch.device("cpu"))
    Image.new("RGBA", (9, 9), (1, 2, 3, 4)).save(tmp_path / "c.png")  # what no encoder takes is not trained on either
    with pytest.warns(UserWarning, match=r"1 of 2 images are left out; the first: .*c\.png: transparent"):
        ImageBank.load([tmp_path / "a.png", tmp_path / "c.png"], 8, torch.device("cpu"))
