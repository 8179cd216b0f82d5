# SPDX-License-Identifier: Apache-2.0
"""The bench end to end on two tiny images, and its report."""

import csv
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.bench.kinds.image import MEDIUM
from isthmus.bench.medium import Measure
from isthmus.bench.peers.pillow import AVIF, JPEG, JPEG_2000, WEBP, pillow_codecs
from isthmus.bench.report import markdown_table, savings, write_report
from isthmus.bench.runs import average, run
from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media.kinds import list_files
from tests.bench.coarse_codec import CoarseCodec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:40, :56]
    photo = np.stack([120 + 60 * np.sin(x / 9), 100 + y, 90 + 40 * np.cos((x + y) / 7)], axis=2).astype(np.uint8)
    Image.fromarray(photo).save(place / "b.png")
    Image.fromarray(photo[:30, :30, 0]).save(place / "c.png")
    Image.fromarray(photo[::-1]).save(place / "a.png")
    (place / "notes.txt").write_text("not an image")
    return place


@pytest.fixture(scope="module")
def rows(folder):
    ladders = {"jpeg": (5, 40, 95), "coarse": (1, 30, 60, 90, 100)}
    settings = {name: [{"quality": quality} for quality in ladder] for name, ladder in ladders.items()}
    return run(MEDIUM, list_files(folder, "image", last=2), [JPEG, CoarseCodec()], settings=settings, repeats=2)


def test_rows(rows):
    assert len(rows) == 2 * (3 + 5)
    assert {row.file for row in rows} == {"b.png", "c.png"}
    for row in rows:
        assert row.size == ("56x40" if row.file == "b.png" else "30x30")
        assert row.rate == pytest.approx(8e-6 * row.bytes / row.amount)
        assert row.encode_seconds > 0 and row.decode_seconds > 0
        assert 0 <= row.measures["ms_ssim"] <= 1 + 1e-6 and set(row.measures) == {"psnr", "ms_ssim"}
    lossless = [row for row in rows if row.codec == "coarse" and row.setting == "quality=100"]
    assert [row.measures["psnr"] for row in lossless] == [math.inf, math.inf]


def test_curves_are_means_over_images(rows):
    curves = average(MEDIUM, rows)
    assert list(curves) == ["jpeg", "coarse"]
    point = next(point for point in curves["jpeg"] if point.setting == "quality=40")
    pair = [row for row in rows if row.codec == "jpeg" and row.setting == "quality=40"]
    assert point.files == 2
    assert point.rate == pytest.approx((pair[0].rate + pair[1].rate) / 2)
    assert point.measures["psnr"] == pytest.approx(sum(row.measures["psnr"] for row in pair) / 2)
    pixels, seconds = 40 * 56 + 30 * 30, pair[0].encode_seconds + pair[1].encode_seconds
    assert point.encode_speed == pytest.approx(pixels / 1e6 / seconds)
    assert [p.rate for p in curves["coarse"]] == sorted(p.rate for p in curves["coarse"])


def test_infinities_that_have_no_mean(rows):
    """Such as SI-SDR of silence, which one setting keeps and another does not; the hours before are not lost."""
    coarse = [row for row in rows if row.setting == "quality=100" and row.codec == "coarse"]
    fallen = [coarse[0], replace(coarse[1], measures={**coarse[1].measures, "psnr": -math.inf})]
    (point,) = average(MEDIUM, fallen)["coarse"]
    assert math.isnan(point.measures["psnr"]) and point.measures["ms_ssim"] <= 1 + 1e-6
    assert "nan" in markdown_table(MEDIUM, average(MEDIUM, fallen))


def test_report(rows, tmp_path):
    curves = average(MEDIUM, rows)
    files = write_report(MEDIUM, rows, curves, tmp_path / "report", title="two tiny images")
    assert [file.name for file in files] == ["rows.csv", "curves.json", "psnr.png", "ms_ssim.png"]
    with open(files[0]) as table:
        read = list(csv.DictReader(table))
    assert len(read) == len(rows) and float(read[0]["rate"]) == pytest.approx(rows[0].rate, rel=1e-5)
    content = json.loads(files[1].read_text())
    assert content["bd_rate"]["anchor"] == "jpeg" and content["bd_rate"]["savings"][0]["codec"] == "coarse"
    assert content["curves"]["coarse"][-1]["measures"]["psnr"] is None  # lossless
    assert content["versions"]["torch"] and content["machine"]["cores"] >= 1
    for plot in files[2:]:
        with Image.open(plot) as image:
            assert image.format == "PNG" and min(image.size) > 400
    table = markdown_table(MEDIUM, curves).splitlines()
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert "anchor" in table[2] and table[3].startswith("| coarse |")


def test_lpips_is_reported_where_measured(folder, tmp_path):
    lpips = Measure(lambda a, b: float(np.abs(a - b.astype(float)).mean()), "LPIPS (lower is better)")
    medium = replace(MEDIUM, measures={**MEDIUM.measures, "lpips": lpips})
    rows = run(medium, list_files(folder, "image")[:1], [CoarseCodec()])
    assert all(row.measures["lpips"] >= 0 for row in rows)
    files = write_report(medium, rows, average(medium, rows), tmp_path)
    assert files[-1].name == "lpips.png"
    assert savings(medium, average(medium, rows)) == []
    assert "| none |" in markdown_table(medium, average(medium, rows))


def test_threads_are_restored_and_no_progress_in_a_pipe(folder, capsys):
    before = torch.get_num_threads()
    run(MEDIUM, list_files(folder, "image")[:1], [CoarseCodec()])
    assert torch.get_num_threads() == before
    assert capsys.readouterr() == ("", "")


def test_one_exact_file_does_not_spoil_the_means(folder, tmp_path):
    """What is flat comes back exactly from JPEG, with an infinite PSNR, and would leave no BD-rate."""
    files = list_files(folder, "image")[:1]
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "flat.png")
    rows = run(MEDIUM, [*files, tmp_path / "flat.png"], [JPEG, WEBP])
    assert any(not math.isfinite(row.measures["psnr"]) for row in rows if row.file == "flat.png")
    with pytest.warns(UserWarning, match=r"flat\.png: a codec gives back exactly"):
        curves = average(MEDIUM, rows)
    assert all(
        math.isfinite(point.shown["psnr"]) and point.files == 1 for points in curves.values() for point in points
    )
    assert savings(MEDIUM, curves)[0].percent["psnr"] is not None
    alone = [row for row in rows if row.file == "flat.png"]
    assert {point.files for points in average(MEDIUM, alone).values() for point in points} == {1}


def test_a_line_now_and_then_without_a_terminal(folder, capsys, monkeypatch):
    monkeypatch.setattr("isthmus.progress.EVERY", 0.0)
    run(MEDIUM, list_files(folder, "image")[:1], [CoarseCodec()])
    out, err = capsys.readouterr()
    assert out == "" and "isthmus: 1 of 1 files" in err and " calls, " in err


def test_wrong_arguments(folder, tmp_path):
    with pytest.raises(ValueError, match="0 codecs"):
        run(MEDIUM, list_files(folder, "image"), [])
    with pytest.raises(ValueError, match="repeats is 0"):
        run(MEDIUM, list_files(folder, "image"), [JPEG], repeats=0)
    with pytest.raises(UnreadableFileError, match="no image files"):
        list_files(tmp_path, "image")
    with pytest.raises(UnreadableFileError, match="no such folder"):
        list_files(tmp_path / "absent", "image")
    assert list_files(folder / "a.png", "image") == [folder / "a.png"]
    (tmp_path / "bad.png").write_bytes(b"text")
    with pytest.warns(UserWarning, match=r"left out: .*bad\.png: not an image: it looks like text"):
        rows = run(MEDIUM, [folder / "a.png", tmp_path / "bad.png"], [CoarseCodec()])
    assert {row.file for row in rows} == {"a.png"}
    with pytest.raises(UnreadableFileError, match=r"bad\.png"):
        run(MEDIUM, [tmp_path / "bad.png"], [CoarseCodec()])


def test_plots_need_matplotlib(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"isthmus\[bench\]"):
        write_report(MEDIUM, rows, average(MEDIUM, rows), tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("codec", [JPEG, WEBP, JPEG_2000, AVIF], ids=lambda codec: codec.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_codecs(codec, channels):
    y, x = np.mgrid[:64, :80]
    image = np.repeat((x + y).astype(np.uint8)[:, :, None], channels, axis=2)
    small, large = (codec.encode(image, quality=quality) for quality in (codec.qualities[0], codec.qualities[-1]))
    assert len(small) < len(large)
    decoded = codec.decode(large, output="numpy")
    assert decoded.shape == (64, 80, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image).max() <= 8
    with pytest.raises(ValueError, match="output"):
        codec.decode(large, output="torch")


def test_missing_pillow_formats_are_noted(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    codecs, notes = pillow_codecs()
    assert [codec.name for codec in codecs] == ["jpeg", "webp", "jpeg2000"]
    assert notes == ["avif: left out, this Pillow was built without it"]
