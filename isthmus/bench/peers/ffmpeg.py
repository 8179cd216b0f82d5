# SPDX-License-Identifier: Apache-2.0
"""The codecs of sound that everyone has, through PyAV, in the shape of ours."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.kernels.resample.resampler import resample

MOST_LAG = 8192  # samples by which a decoder may come late


@dataclass(frozen=True)
class FfmpegCodec:
    """One of FFmpeg's encoders; `quality` is kbit/s. What it writes is a file in memory."""

    name: str
    encoder: str
    container: str
    qualities: tuple[int, ...]
    rates: tuple[int, ...]  # that it takes, the usual one first

    def encode(self, sound: np.ndarray, *, sample_rate: int, quality: int) -> bytes:
        """A file of float32 [1 or 2, T] at about `quality` kbit/s."""
        import av

        rate = sample_rate if sample_rate in self.rates else self.rates[0]
        x = np.ascontiguousarray(np.clip(resample(sound, sample_rate, rate), -1, 1))
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=self.container) as container:
            stream: Any = container.add_stream(self.encoder, rate=rate)
            stream.layout = "mono" if len(x) == 1 else "stereo"
            stream.bit_rate = quality * 1000
            resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
            frame: Any = av.AudioFrame.from_ndarray(x, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts = rate, 0
            fifo = av.AudioFifo()
            for part in resampler.resample(frame):
                fifo.write(part)
            size = stream.codec_context.frame_size or 1024
            while (piece := fifo.read(size)) or (piece := fifo.read()):
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        return buffer.getvalue()

    def decode_like(self, data: bytes, like: np.ndarray, *, sample_rate: int) -> np.ndarray:
        """The sound again, of the shape of `like`, brought into step with it: decoders may come late."""
        import av

        with av.open(io.BytesIO(data), "r") as container:
            resampler = av.AudioResampler(format="fltp")
            parts = [p.to_ndarray() for f in container.decode(audio=0) for p in resampler.resample(f)]
            rate = container.streams.audio[0].rate
        found = np.concatenate(parts, 1).astype(np.float32) if parts else np.zeros((len(like), 0), np.float32)
        return in_step(resample(found, rate, sample_rate), like)


def packet_bytes(data: bytes) -> int:
    """What the packets of a file take, without its container."""
    import av

    with av.open(io.BytesIO(data), "r") as container:
        return sum(packet.size for packet in container.demux(audio=0))


def in_step(found: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`found` moved by the lag at which it fits `like` best, cut or filled to its length."""
    length = like.shape[1]
    if not length:
        return found[:, :0]
    a = np.zeros(length + 2 * MOST_LAG)
    b = np.zeros_like(a)
    a[MOST_LAG : MOST_LAG + length] = like.mean(0)
    count = min(found.shape[1], length + MOST_LAG)
    b[MOST_LAG : MOST_LAG + count] = found[:, :count].mean(0)
    match = np.fft.irfft(np.fft.rfft(b) * np.conj(np.fft.rfft(a)), len(a))
    lags = np.concatenate([np.arange(MOST_LAG), np.arange(-MOST_LAG, 0)])
    lag = int(lags[np.argmax(match[lags])])
    wide = np.pad(found, ((0, 0), (max(0, -lag), length + MOST_LAG)))
    return np.ascontiguousarray(wide[:, max(0, lag) :][:, :length])


MP3 = FfmpegCodec("mp3", "libmp3lame", "mp3", (16, 24, 32, 48, 64, 96, 128), (44_100, 48_000, 32_000))
OPUS = FfmpegCodec("opus", "libopus", "ogg", (12, 16, 24, 32, 48, 64, 96), (48_000,))
AAC = FfmpegCodec("aac", "aac", "ipod", (16, 24, 32, 48, 64, 96, 128), (44_100, 48_000))


def ffmpeg_codecs() -> tuple[list[FfmpegCodec], list[str]]:
    """The baselines that this PyAV can write, and a note for each that it cannot."""
    codecs = [MP3, OPUS, AAC]
    try:
        import av
    except ImportError:
        return [], ["MP3, Opus and AAC: left out, they need the package av: pip install 'isthmus[video]'"]
    present = [codec for codec in codecs if codec.encoder in av.codecs_available]
    notes = [f"{codec.name}: left out, this FFmpeg was built without it" for codec in codecs if codec not in present]
    return present, notes
