# SPDX-License-Identifier: Apache-2.0
"""Output files are whole or absent."""

import errno
import os
import stat

import numpy as np
import pytest

from isthmus import files
from isthmus.errors import UnwritableFileError
from isthmus.files import atomic_file, atomic_write, make_folder, remove_leftovers
from isthmus.media.image import WRITABLE, read_image, write_image

IMAGE = np.random.default_rng(5).integers(0, 256, (17, 23, 3), np.uint8)


@pytest.mark.parametrize("suffix", sorted(WRITABLE))
def test_every_suffix_round_trips(tmp_path, suffix):
    image = IMAGE if suffix != ".pgm" else IMAGE[..., :1]
    path = tmp_path / f"x{suffix.upper()}"
    write_image(path, image[::1, ::-1])
    read = read_image(path)
    assert read.shape == image.shape
    limit = 40 if suffix in (".jpg", ".jpeg", ".avif") else 0
    assert np.abs(read.astype(int) - image[:, ::-1]).max() <= limit
    assert os.listdir(tmp_path) == [path.name]


def test_grey_and_options(tmp_path):
    write_image(tmp_path / "g.png", IMAGE[..., 0])
    assert np.array_equal(read_image(tmp_path / "g.png"), IMAGE[..., :1])
    write_image(tmp_path / "a.jpg", IMAGE)
    write_image(tmp_path / "b.jpg", IMAGE, quality=10)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_wrong_arguments_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"unknown suffix '\.xyz'; expected one of \.png, \.jpg"):
        write_image(tmp_path / "x.xyz", IMAGE)
    with pytest.raises(TypeError, match="uint8"):
        write_image(tmp_path / "x.png", IMAGE.astype(float))
    with pytest.raises(Exception, match="quality"):
        write_image(tmp_path / "x.jpg", IMAGE, quality="no such preset")
    assert os.listdir(tmp_path) == []


def test_system_refusals(tmp_path):
    with pytest.raises(UnwritableFileError, match=r"absent does not exist: create it first"):
        write_image(tmp_path / "absent" / "x.png", IMAGE)
    with pytest.raises(UnwritableFileError, match="is a folder"):
        atomic_write(tmp_path, b"x")
    with pytest.raises(UnwritableFileError, match="does not exist"):
        make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnwritableFileError, match="is a file, where a folder is needed"):
        make_folder(tmp_path / "file")


def test_what_a_killed_process_left_is_removed(tmp_path):
    target = tmp_path / "model[1].bin"
    left = tmp_path / ".model[1].bin.0123456789ab.part"
    others = [tmp_path / name for name in (".model[2].bin.0123456789ab.part", ".model[1].bin.mine.part", "x.part")]
    for path in (left, *others):
        path.write_bytes(b"half")
    with atomic_file(target) as file:
        file.write(b"whole")
        remove_leftovers(target)
        assert not left.exists() and all(path.exists() for path in others)
    assert target.read_bytes() == b"whole"  # what is still written was not taken away


def test_a_file_that_is_taken_for_a_leftover_before_it_is_locked(tmp_path, monkeypatch):
    """Another process may find it between the moment it is made and the moment it is locked."""
    real, calls = files.lock, 0

    def late(file):
        nonlocal calls
        calls += 1
        if calls == 1:  # the other has removed it
            remove_leftovers(tmp_path / "x")
        if calls == 3:  # the other is about to remove it
            return False
        return real(file)

    monkeypatch.setattr(files, "lock", late)
    atomic_write(tmp_path / "x", b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole" and calls == 4
    monkeypatch.setattr(files, "lock", lambda file: None)  # a file system without locks
    atomic_write(tmp_path / "x", b"again")
    assert (tmp_path / "x").read_bytes() == b"again"


def test_a_pipe_of_such_a_name_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / ".x.0123456789ab.part")
    remove_leftovers(tmp_path / "x")


REAL_OPEN = open


class FullDisk:
    """A file that takes a few bytes and then reports a full disk."""

    def __init__(self, path, mode):
        self.file = REAL_OPEN(path, mode)
        self.fileno = self.file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("before", [None, b"older content"])
def test_full_disk_leaves_the_folder_as_it_was(tmp_path, monkeypatch, before):
    target = tmp_path / "x.bin"
    if before is not None:
        target.write_bytes(before)
    monkeypatch.setattr("builtins.open", FullDisk)
    with pytest.raises(UnwritableFileError, match="no space left in"):
        atomic_write(target, b"new content")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ([] if before is None else ["x.bin"])
    assert before is None or target.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_error_in_the_block_leaves_the_folder_as_it_was(tmp_path, error):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(error), atomic_file(tmp_path / "x") as file:
        file.write(b"new")
        raise error
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_links_devices_long_names_and_permissions(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    atomic_write("/dev/null", b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    atomic_write(tmp_path / ("n" * 250), b"")
    assert (tmp_path / ("n" * 250)).read_bytes() == b""
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "real").stat().st_mode == (tmp_path / "plain").stat().st_mode
