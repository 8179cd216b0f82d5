// SPDX-License-Identifier: Apache-2.0
// From 8-bit images to quantised latents: `isthmus.kernels.wavelet.torch_image`, operation for operation.
//
// Every product and every sum is rounded on its own (__fmul_rn, __fadd_rn are never fused), in the order of the
// definition, so that a GPU makes the CPU's integers. A thread of `split` computes one low and one high value from nine
// samples: it repeats what its neighbours compute, which costs less than to wait for them.
//
// Defined from outside: SAMPLE, the type that `split` reads, u8 or float; OUTPUTS of a thread of `quantize`, a multiple
// of 4.

typedef unsigned char u8;
typedef unsigned int u32;
typedef long long i64;

const float ALPHA = -1.586134342059924f, BETA = -0.052980118572961f;
const float GAMMA = 0.882911075530934f, DELTA = 0.443506852043971f;

__device__ __forceinline__ float centred(u8 sample) { return __fsub_rn((float)sample, 127.5f); }
__device__ __forceinline__ float centred(float sample) { return sample; }

__device__ __forceinline__ float lifted(float value, float factor, float a, float b) {
    return __fadd_rn(value, __fmul_rn(factor, __fadd_rn(a, b)));
}

// One level along the middle axis: x [outer, 2 n, inner] -> out [outer, 2, n, inner]; total = outer n inner < 2^32.
extern "C" __global__ void __launch_bounds__(256)
split(const SAMPLE* x, float* out, i64 total, u32 n, u32 inner) {
    const i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= total) return;
    const u32 line = (u32)id / inner, across = (u32)id % inner;
    const u32 outer = line / n;
    const int i = (int)(line % n), last = (int)n - 1;
    const SAMPLE* from = x + (i64)outer * 2 * n * inner + across;

    // Of places i - 2 .. i + 2, those beyond an end replaced by the last one there.
    float s[5], d[4], d1[4], s1[3];
    for (int k = 0; k < 5; ++k) {
        const int at = min(max(i - 2 + k, 0), last);
        s[k] = centred(from[(i64)(2 * at) * inner]);
        if (k < 4) d[k] = centred(from[(i64)(2 * at + 1) * inner]);
    }
    for (int k = 0; k < 4; ++k) {
        float next = s[k + 1];
        if (i - 2 + k < 0) next = i == 0 ? s[3] : s[2];  // the first place stands there, whose neighbour is the second
        d1[k] = lifted(d[k], ALPHA, s[k], next);
    }
    for (int k = 0; k < 3; ++k) s1[k] = lifted(s[k + 1], BETA, d1[k], d1[k + 1]);
    const float s2 = i < last ? s1[2] : s1[1];
    const float high = lifted(d1[2], GAMMA, s1[1], s2);
    const float before = i > 0 ? lifted(d1[1], GAMMA, s1[0], s1[1]) : high;
    const float low = lifted(s1[1], DELTA, before, high);

    float* to = out + ((i64)outer * 2 * n + i) * inner + across;
    to[0] = low;
    to[(i64)n * inner] = high;
}

// Bands as `split` leaves them, float [images, stride], to int16 [images, outputs, rows, width]. Band k of a latent at
// row y, place x: places[k] + y row + x, times scales[k]. weights: [bands, padded outputs]; biases, gains: [padded
// outputs]. A thread does OUTPUTS of the outputs of one position; blocks of one group of outputs follow each other.
extern "C" __global__ void __launch_bounds__(128)
quantize(const float* bands, i64 stride, const i64* places, const float* scales, u32 count, const float4* weights,
         const float* biases, const float* gains, u32 outputs, u32 padded, float offset, u32 rows, u32 width, u32 row,
         i64 positions, u32 blocks, short* out) {
    const u32 group = blockIdx.x / blocks, first = group * OUTPUTS;
    const i64 id = (i64)(blockIdx.x % blocks) * blockDim.x + threadIdx.x;
    if (id >= positions) return;
    const u32 area = rows * width;
    const i64 image = id / area;
    const u32 place = (u32)(id % area);
    const float* from = bands + image * stride + (i64)(place / width) * row + place % width;

    float sums[OUTPUTS];
#pragma unroll
    for (int o = 0; o < OUTPUTS; ++o) sums[o] = biases[first + o];
    weights += first / 4;
    for (u32 k = 0; k < count; ++k, weights += padded / 4) {
        const float band = __fmul_rn(from[places[k]], scales[k]);
#pragma unroll
        for (int o = 0; o < OUTPUTS; o += 4) {
            const float4 four = __ldg(weights + o / 4);
            sums[o] = __fadd_rn(sums[o], __fmul_rn(four.x, band));
            sums[o + 1] = __fadd_rn(sums[o + 1], __fmul_rn(four.y, band));
            sums[o + 2] = __fadd_rn(sums[o + 2], __fmul_rn(four.z, band));
            sums[o + 3] = __fadd_rn(sums[o + 3], __fmul_rn(four.w, band));
        }
    }
    short* to = out + (image * outputs + first) * area + place;
#pragma unroll
    for (int o = 0; o < OUTPUTS; ++o) {
        if (first + o >= outputs) return;
        const float value = __fmul_rn(sums[o], gains[first + o]);
        const int magnitude = (int)fminf(__fadd_rn(fabsf(value), offset), 32768.0f);
        to[(i64)o * area] = (short)(value < 0 ? -magnitude : min(magnitude, 32767));
    }
}
