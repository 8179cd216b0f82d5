# SPDX-License-Identifier: Apache-2.0
"""Sound through the commands: files and pipes, parts, lost units, tags, bad input in one line."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

import isthmus
from isthmus.bitstream import read_chunks
from isthmus.cli.times import seconds
from isthmus.errors import UnreadableFileError
from isthmus.media import audio
from isthmus.samples import ASTRONAUT, SPEECH
from isthmus.signals import AudioSignal
from tests.cli.test_main import Run
from tests.cli.test_pipes import ISTHMUS, shell
from tests.codecs.walloc.audio.tiny import tones
from tests.media.test_sound_files import encode_with_ffmpeg

C27 = ("--codec", "walloc-audio-f256c27")
RATE = 44_100


def told(err: str) -> str:
    """What else than that kernels are compiled, which happens once on a machine."""
    return "".join(line for line in err.splitlines(keepends=True) if "compiling kernels" not in line)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four units and a bit, with tags."""
    path = tmp_path_factory.mktemp("songs") / "song.flac"
    with soundfile.SoundFile(path, "w", RATE, 2, format="FLAC") as file:
        file.title, file.artist = "Nänie", "B."
        file.write(tones(2, 4 * 65_536 + 500).T)
    return path


@pytest.fixture(scope="module")
def stream(song: Path) -> Path:
    path = song.with_suffix(".ist")
    codec = isthmus.load(C27[1])
    sound, facts = audio.read(song, {})
    path.write_bytes(codec.encode(sound, **facts))
    return path


def test_there_and_back(run: Run, song: Path, stream: Path, tmp_path: Path) -> None:
    status, out, err = run("encode", song, tmp_path / "a.ist", *C27)
    assert (status, told(err)) == (0, "") and "5.96 s, 44100 Hz, 2 channels" in out and "kbit/s" in out
    with isthmus.load(C27[1]).open(tmp_path / "a.ist") as units:
        assert units.metadata == {"tags": {"title": "Nänie", "artist": "B."}}
    status, out, err = run("decode", tmp_path / "a.ist", tmp_path / "a.flac")
    assert (status, told(err)) == (0, "") and "5.96 s" in out
    done = shell(f"cat a.ist | {ISTHMUS} decode - piped.flac", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("a.flac", "piped.flac"):
        assert audio.open_sound(tmp_path / name).tags == {"title": "Nänie", "artist": "B."}
    found, _ = audio.read(tmp_path / "a.flac", {})
    expected = isthmus.decode(stream.read_bytes(), output="numpy")
    assert np.abs(found - np.clip(expected, -1, 1)).max() < 1e-4
    status, out, err = run("inspect", tmp_path / "a.ist")
    assert '"seconds": 5.95' in out and '"sample_rate": 44100' in out


def test_parts(run: Run, stream: Path, tmp_path: Path) -> None:
    whole = isthmus.decode(stream.read_bytes(), output="numpy")
    status, out, err = run("decode", stream, tmp_path / "a.wav", "--from", "2s", "--to", "3.5")
    assert (status, told(err)) == (0, "") and "1.50 s" in out
    found, _ = audio.read(tmp_path / "a.wav", {})
    assert found.shape == (2, 66_150) and np.abs(found - np.clip(whole[:, 88_200:154_350], -1, 1)).max() < 1e-4
    for times in (("0:02", "0:03.5"), ("2000ms", "3.5s")):
        assert run("decode", stream, tmp_path / "b.wav", "--from", times[0], "--to", times[1])[0] == 0
        assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").unlink()
    status, out, err = run("decode", stream, tmp_path / "b.flac", "--to", "0")
    assert status == 2 and "b.flac: a sound of no samples" in err and not (tmp_path / "b.flac").exists()
    for wrong in (("--from", "3", "--to", "2"), ("--from", "100"), ("--from", "x"), ("--to", "-1")):
        status, out, err = run("decode", stream, tmp_path / "b.wav", *wrong)
        assert status == 2 and told(err).count("\n") == 1 and not (tmp_path / "b.wav").exists(), wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12), (" 12.5s", 12.5), (".5", 0.5), ("500ms", 0.5), ("0:12", 12), ("1:02.5", 62.5), ("90:00", 5400),
     ("1:00:03", 3603), ("1:59:59.25", 7199.25)],
)  # fmt: skip
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "nan", "inf", "1e3", "1:2", "1:60", "1:60:00", "1:2:3:4", "12m", "1:02s"]
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"no time: expected 12, 12s, 500ms, 0:12, 1:02\.5 or 1:00:03"):
        seconds(text)


def test_help_shows_sound_and_images_until_it_knows(run: Run, song: Path, stream: Path, tmp_path: Path) -> None:
    for command in ("encode", "decode"):
        for arguments in (("--help",), ("-", "out", "--help")):
            out = run(command, *arguments)[1]
            assert "--max-pixels" in out and "--noise" in out and "song.ist" in out
        assert out.index("Options of images and sound") < out.index("Options of images", out.index("and sound") + 1)
    for line, words in (
        (("encode", song, "o.ist", "--max-pixels", "9"), "--max-pixels is for images; this is sound"),
        (("decode", stream, "o.wav", "--max-pixels", "9"), "--max-pixels is for images; this is sound"),
        (("encode", ASTRONAUT, "o.ist", "--no-noise"), "--no-noise is for sound; this is an image"),
        (("encode", song, "o.ist", "--none"), "No such option"),
    ):
        status, out, err = run(*line)
        assert status == 2 and words in err and "Traceback" not in err, err
    assert "--noise" in run("encode", song, "--help")[1] and "--max-pixels" not in run("encode", song, "--help")[1]
    assert "--from" in run("decode", stream, "--help")[1] and "--max-pixels" not in run("decode", stream, "--help")[1]
    assert run("decode", "--no-noise", stream, tmp_path / "a.wav")[0] == 0
    assert run("encode", "--no-noise", song, tmp_path / "a.ist", *C27)[0] == 0


def test_videos_are_told_how_their_sound_is_encoded(run: Run, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    encode_with_ffmpeg(film, sound=True, video=True)
    status, out, err = run("encode", film, tmp_path / "a.ist")
    assert status == 2 and "film.mp4" in err and "add --codec walloc-audio-f256c108" in err
    done = shell(f"cat film.mp4 | {ISTHMUS} encode - a.ist", tmp_path)
    assert done.returncode == 2 and b"add --codec walloc-audio-f256c108" in done.stderr
    encode_with_ffmpeg(film, sound=False, video=True)
    status, out, err = run("encode", film, tmp_path / "a.ist")
    assert status == 2 and "no sound in this file" in err and "--codec" not in err


def test_lost_units(run: Run, stream: Path, tmp_path: Path) -> None:
    data = stream.read_bytes()
    chunk = [chunk for chunk in read_chunks(data) if chunk.type == "P"][2]
    damaged = tmp_path / "a.ist"
    damaged.write_bytes(data[: chunk.offset + 20] + b"\xff" + data[chunk.offset + 21 :])
    status, out, err = run("decode", damaged, tmp_path / "a.wav")
    assert status == 2 and "unit 2" in err and "--allow-loss" in err and not (tmp_path / "a.wav").exists()
    status, out, err = run("decode", damaged, tmp_path / "a.wav", "--allow-loss")
    assert status == 0 and "lost 2.97 to 4.46 s" in err and audio.read(tmp_path / "a.wav", {})[0].shape[1] == 262_644
    damaged.write_bytes(data[: chunk.offset + 20])
    assert run("decode", damaged, tmp_path / "b.wav")[0] == 2
    status, out, err = run("decode", damaged, tmp_path / "b.wav", "--allow-loss")
    assert status == 0 and audio.read(tmp_path / "b.wav", {})[0].shape[1] == 262_644
    assert "lost 2.97 to 5.96 s" in err and "and 2 more after it" in err and err.count("warning") == 1


def test_no_samples_in_two_channels(run: Run, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", np.zeros((2, 0), np.float32), AudioSignal(RATE, 2))
    assert run("encode", tmp_path / "a.wav", tmp_path / "a.ist", *C27)[0] == 0
    assert run("decode", tmp_path / "a.ist", tmp_path / "b.wav")[0] == 0
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    assert (tmp_path / "a.ist").read_bytes() == isthmus.encode(tmp_path / "a.wav", codec=C27[1])


def test_sound_beyond_full_scale(run: Run, tmp_path: Path) -> None:
    codec = isthmus.load(C27[1])
    for loudness, warned in ((1, False), (4, True)):
        sound = loudness * np.sin(np.arange(3000) / 7, dtype=np.float32)
        (tmp_path / "a.ist").write_bytes(codec.encode(sound, sample_rate=RATE))
        status, _, err = run("decode", tmp_path / "a.ist", tmp_path / "a.wav")
        assert status == 0 and ("times full scale" in err) == warned


def test_pipes(tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(SPEECH.read_bytes())
    done = shell(f"cat speech.wav | {ISTHMUS} encode - - {' '.join(C27)} > a.ist", tmp_path)
    assert done.returncode == 0 and b"22050 Hz, 1 channel" in done.stderr, done.stderr
    done = shell(f"cat a.ist | {ISTHMUS} decode - - > a.wav && {ISTHMUS} decode a.ist b.wav", tmp_path)
    assert done.returncode == 0, done.stderr
    (a, facts), (b, _) = audio.read(tmp_path / "a.wav", {}), audio.read(tmp_path / "b.wav", {})
    assert facts == {"sample_rate": 22_050} and np.array_equal(a, b) and a.shape == audio.read(SPEECH, {})[0].shape
    done = shell(f"{{ cat speech.wav; }} | {ISTHMUS} encode - direct.ist -q 30", tmp_path)
    assert done.returncode == 0 and (tmp_path / "direct.ist").stat().st_size > 100
    done = shell(f"head -c 90000 speech.wav | {ISTHMUS} encode - cut.ist", tmp_path)
    assert done.returncode == 2 and b"truncated" in done.stderr and not (tmp_path / "cut.ist").exists()


def test_what_is_quiet_in_a_pipe_is_told(run: Run, tmp_path: Path) -> None:
    for factor, quiet in ((0.02, True), (1.0, False)):
        audio.write(tmp_path / "a.wav", factor * tones(1, 9000), AudioSignal(RATE, 1))
        done = shell(f"cat a.wav | {ISTHMUS} encode - a.ist {' '.join(C27)}", tmp_path)
        assert done.returncode == 0 and (b"note: the sound peaks at -4" in done.stderr) == quiet, done.stderr
    assert "fewer bytes and a lower quality" in " ".join(run("encode", "--help")[1].replace("│", " ").split())


def test_lengths_and_rates_of_very_short_sounds(run: Run, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", tones(1, 1), AudioSignal(RATE, 1))
    status, out, err = run("encode", tmp_path / "a.wav", tmp_path / "a.ist", *C27)
    assert status == 0 and "1 sample," in out and "bytes" in out and "kbit/s" not in out


def test_inspect_tells_units_tags_and_levels(run: Run, song: Path, stream: Path, tmp_path: Path) -> None:
    assert run("encode", song, tmp_path / "a.ist", *C27)[0] == 0
    told_by_file = isthmus.inspect(tmp_path / "a.ist")
    assert told_by_file == isthmus.inspect((tmp_path / "a.ist").read_bytes())
    assert told_by_file["units"] == 5 and told_by_file["tags"] == {"title": "Nänie", "artist": "B."}
    assert told_by_file["signal"]["seconds"] == 5.955646 and told_by_file["kbit/s"] > 1 and "cut" not in told_by_file
    assert 0 < told_by_file["gain"] < 3 and len(told_by_file["means"]) == 2
    (tmp_path / "a.ist").write_bytes(stream.read_bytes()[:2000])
    status, out, err = run("inspect", tmp_path / "a.ist")
    assert status == 0 and '"cut": "' in out and '"bytes": 2000' in out
    assert run("inspect", tmp_path / "none.ist")[0] == 2
    with pytest.raises(UnreadableFileError, match="No such file"):
        isthmus.inspect(tmp_path / "none.ist")


def test_cut_streams_say_where(run: Run, stream: Path, tmp_path: Path) -> None:
    data = stream.read_bytes()
    chunk = [chunk for chunk in read_chunks(data) if chunk.type == "P"][2]
    (tmp_path / "a.ist").write_bytes(data[: chunk.offset + 20])
    status, out, err = run("decode", tmp_path / "a.ist", tmp_path / "a.wav")
    assert status == 2 and "before unit 2 of 5, at 2.97 of 5.96 s" in err
    assert "decode what is there with allow_loss=True (--allow-loss)" in err


def test_bad_files_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    audio.write(tmp_path / "seven.wav", tones(7, 100), AudioSignal(8000, 7))
    audio.write(tmp_path / "odd.wav", tones(1, 100), AudioSignal(7919, 1))
    soundfile.write(tmp_path / "nan.wav", np.full((50, 1), np.nan, np.float32), 8000, subtype="FLOAT")
    for name, words in (
        ("text.wav", "looks like text"),
        ("seven.wav", "7 channels"),
        ("nan.wav", "NaN"),
        ("no.wav", "no such"),
        ("odd.wav", "no short ratio"),
    ):
        status, out, err = run("encode", tmp_path / name, tmp_path / "a.ist")
        assert status == 2 and words in err and told(err).count("\n") == 1 and out == "" and name in err, err
        assert not (tmp_path / "a.ist").exists()


def test_standard_output_of_a_stream(stream: Path) -> None:
    """Bytes of a file object and of a path are the same stream."""
    codec = isthmus.load(C27[1])
    with open(stream, "rb") as file, codec.open(file) as units, codec.open(io.BytesIO(stream.read_bytes())) as again:
        assert len(units) == len(again) == 5
