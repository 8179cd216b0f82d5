# SPDX-License-Identifier: Apache-2.0
"""Full wavelet packet transform in torch, by CDF 9/7 lifting: for autograd, training and GPUs.

Filters are pywt's `bior4.4` (DC gain sqrt(2) an axis and level). Every band is split again at every level; the channel
index becomes `c * 4 + f` with f in pywt's order cA, cH, cV, cD, so bit 0 of f is the vertical detail and bit 1 the
horizontal one. Modes:

- ``"symmetric"``: whole-sample symmetric extension, as JPEG 2000 (ISO/IEC 15444-1 annex F). Local, so strips work.
- ``"periodization"``: wraps round; equals ``pywt.dwt2(..., mode="periodization")``, which published weights need.

The CPU codec uses `isthmus.kernels.wavelet.packets`, the same steps in the same order; this path agrees with it to 1e-4
of the largest coefficient in float32.
"""

from functools import lru_cache
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

Mode = Literal["symmetric", "periodization"]

# Daubechies and Sweldens, "Factoring wavelet transforms into lifting steps" (1998), section 7.7.
ALPHA, BETA, GAMMA, DELTA = -1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971
LOW_SCALE = 1.149604398860242  # gives the low band a DC gain of sqrt(2)
HIGH_SCALE = -1.0 / LOW_SCALE  # pywt's sign


def _next(s: Tensor, mode: Mode) -> Tensor:
    """s[i + 1] along the last axis; beyond the end s[n] = s[n - 1] (whole-sample symmetry) or s[0]."""
    return torch.cat((s[..., 1:], s[..., -1:] if mode == "symmetric" else s[..., :1]), dim=-1)


def _previous(d: Tensor, mode: Mode) -> Tensor:
    """d[i - 1] along the last axis; before the start d[-1] = d[0] (whole-sample symmetry) or d[n - 1]."""
    return torch.cat((d[..., :1] if mode == "symmetric" else d[..., -1:], d[..., :-1]), dim=-1)


def _split(x: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """One level along the last axis, of even length: low and high band, each of half the length."""
    s, d = x[..., 0::2], x[..., 1::2]
    d = d + ALPHA * (s + _next(s, mode))
    s = s + BETA * (_previous(d, mode) + d)
    d = d + GAMMA * (s + _next(s, mode))
    s = s + DELTA * (_previous(d, mode) + d)
    return s * LOW_SCALE, d * HIGH_SCALE


def _merge(low: Tensor, high: Tensor, mode: Mode) -> Tensor:
    """The inverse of `_split`: the same steps backwards, with the signs turned."""
    s, d = low * (1.0 / LOW_SCALE), high * (1.0 / HIGH_SCALE)
    s = s - DELTA * (_previous(d, mode) + d)
    d = d - GAMMA * (s + _next(s, mode))
    s = s - BETA * (_previous(d, mode) + d)
    d = d - ALPHA * (s + _next(s, mode))
    return torch.stack((s, d), dim=-1).flatten(-2)


def analyze_packet(x: Tensor, levels: int, mode: Mode = "symmetric") -> Tensor:
    """Wavelet packet analysis of `x`, float [B, C, T] or [B, C, H, W]; lengths are multiples of 2**levels.

    Returns float [B, C * 2**levels, T / 2**levels] or [B, C * 4**levels, H / 2**levels, W / 2**levels].

    Raises ValueError for other shapes.
    """
    if x.ndim not in (3, 4) or any(n % (1 << levels) for n in x.shape[2:]):
        raise ValueError(
            f"analyze_packet: got shape {tuple(x.shape)}; expected [B, C, T] or [B, C, H, W] with lengths that are "
            f"multiples of {1 << levels}; pad first"
        )
    for _ in range(levels):
        low, high = _split(x, mode)
        if x.ndim == 3:
            x = rearrange([low, high], "f b c t -> b (c f) t")
            continue
        rows = torch.stack((low, high), dim=2).transpose(-1, -2)  # [B, C, h, W/2, H]
        x = rearrange(list(_split(rows, mode)), "v b c h x y -> b (c h v) y x")
    return x


def synthesize_packet(bands: Tensor, levels: int, mode: Mode = "symmetric") -> Tensor:
    """The inverse of `analyze_packet`; exact but for float rounding (about 1e-6 of the largest sample)."""
    for _ in range(levels):
        if bands.ndim == 3:
            low, high = rearrange(bands, "b (c f) t -> f b c t", f=2)
        else:
            s, d = rearrange(bands, "b (c h v) y x -> v b c h x y", h=2, v=2)
            low, high = _merge(s, d, mode).transpose(-1, -2).unbind(dim=2)
        bands = _merge(low, high, mode)
    return bands


@lru_cache(maxsize=16)
def packet_matrix(length: int, levels: int) -> Tensor:
    """The 1-D analysis of `length` samples as a matrix, float32 [length, length], rows ordered (band, position).

    A fixed crop size makes the whole 2-D transform two matrix products, which is what a GPU does best in training.
    """
    identity = torch.eye(length, dtype=torch.float64)[:, None, :]  # one unit impulse a batch item
    return analyze_packet(identity, levels).flatten(1).T.float().contiguous()


def _axes(levels: int) -> tuple[str, str, str, dict[str, int]]:
    """Names of the split digits, first split first: vertical, horizontal, interleaved as bands order them; all 2."""
    v, h = [f"v{i}" for i in range(levels)], [f"h{i}" for i in range(levels)]
    mixed = " ".join(f"{a} {b}" for a, b in zip(h, v, strict=True))
    return " ".join(v), " ".join(h), mixed, dict.fromkeys(v + h, 2)


def analyze_by_matrix(x: Tensor, matrix: Tensor, levels: int) -> Tensor:
    """`analyze_packet` of square crops [B, C, N, N] by `packet_matrix(N, levels)`, symmetric mode."""
    v, h, mixed, digits = _axes(levels)
    y = matrix @ x @ matrix.T
    return rearrange(y, f"b c ({v} y) ({h} x) -> b (c {mixed}) y x", **digits)


def synthesize_by_matrix(bands: Tensor, inverse: Tensor, levels: int) -> Tensor:
    """`synthesize_packet` of square latents by the inverse of `packet_matrix`, symmetric mode."""
    v, h, mixed, digits = _axes(levels)
    return inverse @ rearrange(bands, f"b (c {mixed}) y x -> b c ({v} y) ({h} x)", **digits) @ inverse.T
