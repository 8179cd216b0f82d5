# SPDX-License-Identifier: Apache-2.0
"""Sound in the bench: measures, peers in step, the medium end to end, the comparison's picture."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from isthmus.bench.compare_sound import compare_sound, encode_within, sound_table
from isthmus.bench.kinds.audio import MEDIUM, WithoutNoise, heard, prepare, variants
from isthmus.bench.metrics.audio import log_mel, psnr, si_sdr, spectral, top_of
from isthmus.bench.peers.ffmpeg import AAC, MP3, OPUS, ffmpeg_codecs, in_step, packet_bytes
from isthmus.bench.peers.vorbis import Vorbis
from isthmus.bench.runs import average, run
from isthmus.errors import UnreadableFileError
from isthmus.media import audio
from isthmus.signals import AudioSignal
from tests.codecs.walloc.audio.tiny import tiny_codec, tones

RATE = 44_100


def test_measures_of_equal_and_of_empty_sounds() -> None:
    sound = tones(2, 9000)
    assert psnr(sound, sound) == si_sdr(sound, sound) == math.inf
    assert log_mel(sound, sound) == spectral(sound, sound) == 0
    nothing = np.zeros((2, 0), np.float32)
    assert psnr(nothing, nothing) == math.inf and log_mel(nothing, nothing) == spectral(nothing, nothing) == 0
    one = np.full((1, 1), 0.3, np.float32)
    assert log_mel(one, one) == 0
    with pytest.raises(ValueError, match="one shape"):
        psnr(sound, sound[:, 1:])


def test_measures_do_not_depend_on_loudness() -> None:
    sound = tones(1, 9000)
    noisy = sound + 0.01 * np.random.default_rng(0).standard_normal(sound.shape).astype(np.float32)
    for measure in (psnr, si_sdr, log_mel, spectral):
        assert measure(0.1 * sound, 0.1 * noisy) == pytest.approx(measure(sound, noisy), rel=1e-4)


def test_what_a_recording_cannot_hold_is_not_compared() -> None:
    """Of 8 kHz, brought to 48: what a codec adds above 4 kHz does not count, what it adds below does."""
    sound = (
        0.1 * prepare(np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32), {"sample_rate": 8000})[0]
    )
    time = np.arange(sound.shape[1]) / 48_000
    low, high = (0.1 * np.sin(2 * np.pi * f * time)[None].astype(np.float32) for f in (2000, 9000))
    assert top_of(8000) == 4000 and top_of(44_100) == top_of(96_000) == 20_000
    assert heard(sound, sound + high, sample_rate=8000) < 0.05 < log_mel(sound, sound + high, 48_000)
    assert heard(sound, sound + low, sample_rate=8000) > 0.2
    assert heard(sound, sound + high, sample_rate=48_000) == log_mel(sound, sound + high, 48_000)


def test_psnr_is_as_defined() -> None:
    sound = np.sin(np.arange(4410) * 0.05)[None].astype(np.float32)
    scale = 0.5 / np.abs(sound - sound.mean()).max()
    assert psnr(sound, sound + np.float32(0.01)) == pytest.approx(-20 * math.log10(0.01 * scale), abs=1e-3)
    assert si_sdr(sound, 3 * sound) > 100
    assert log_mel(sound, 10 * sound) == pytest.approx(20, abs=3)


def test_peers_are_in_step() -> None:
    assert not ffmpeg_codecs()[1]
    sound = tones(2, RATE)
    for codec, quality in ((MP3, 128), (OPUS, 96), (AAC, 128), (Vorbis(), 60)):
        data = codec.encode(sound, sample_rate=RATE, quality=quality)
        found = codec.decode_like(data, sound, sample_rate=RATE)
        assert found.shape == sound.shape and si_sdr(sound, found) > 5, codec.name
    assert 0 < packet_bytes(data) < len(data)
    assert np.array_equal(in_step(np.pad(sound, ((0, 0), (700, 0))), sound), sound)
    assert np.array_equal(in_step(sound[:, 50:], sound)[:, 50:], sound[:, 50:])


def test_the_medium(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", tones(2, 30000), AudioSignal(22050, 2))
    ours = variants(tiny_codec())
    assert len(ours) == 2 and isinstance(ours[1], WithoutNoise)
    settings = {codec.name: [{"quality": 50}] for codec in ours}
    rows = run(MEDIUM, [tmp_path / "a.wav"], ours, settings=settings)
    curves = average(MEDIUM, rows)
    with_noise, without = (curves[codec.name][0] for codec in ours)
    assert with_noise.rate > without.rate > 0 and without.measures["psnr"] > 0
    sound, facts = prepare(tones(3, 100), {"sample_rate": 8000})
    assert sound.shape == (2, 600) and facts["sample_rate"] == 48_000


def test_what_cannot_be_measured_is_left_out(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", tones(1, 4000), AudioSignal(8000, 1))
    audio.write(tmp_path / "none.wav", tones(1, 0), AudioSignal(8000, 1))
    audio.write(tmp_path / "slow.wav", tones(1, 10), AudioSignal(100, 1))
    (tmp_path / "text.wav").write_text("text")
    for name, level in (("silent", 0.0), ("still", 0.25)):
        soundfile.write(tmp_path / f"{name}.wav", np.full((4000, 2), level), 8000)
    for name, wrong in (("wild", np.nan), ("wilder", 1e6)):
        soundfile.write(tmp_path / f"{name}.wav", np.array([0.1, wrong], np.float32), 8000, subtype="FLOAT")
    codec, files = tiny_codec(), sorted(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="left out") as told:
        rows = run(MEDIUM, files, [codec], settings={codec.name: [{"quality": 50}]})
    assert [row.file for row in rows] == ["a.wav"]
    assert [str(one.message).split(".wav")[0].rpartition("/")[2] for one in told] == [
        "none",
        "silent",
        "slow",
        "still",
        "text",
        "wild",
        "wilder",
    ]
    with pytest.raises(UnreadableFileError, match=r"none\.wav: a sound of no samples"):
        run(MEDIUM, [tmp_path / "none.wav"], [codec])
    with pytest.raises(UnreadableFileError, match=r"silent\.wav: only silence"):
        run(MEDIUM, [tmp_path / "silent.wav"], [codec])
    with pytest.raises(ValueError, match="no samples"):
        compare_sound(tones(1, 0), 8000, codec)
    assert compare_sound(tones(1, 1), 8000, codec).measurements[0].bytes > 0


def test_a_comparison(tmp_path: Path) -> None:
    result = compare_sound(tones(1, 30000), 8000, tiny_codec(), {"quality": 90}, title="tones")
    with Image.open(io.BytesIO(result.png)) as picture:
        assert picture.format == "PNG" and picture.width > 1000
    by_itself = compare_sound(tones(1, 3000), 8000, tiny_codec(), rivals=[])
    assert by_itself.measurements[0].setting == "quality=50"
    assert [row.codec for row in result.measurements][1:] == ["mp3", "opus"] and len(
        sound_table(result.measurements)
    ) == 4
    assert all(sound.shape == (1, 180_000) for sound in result.sounds.values())
    quality, data = encode_within(OPUS, tones(1, 48000), 48_000, 4000)
    assert len(data) <= 4000 and quality > 6
