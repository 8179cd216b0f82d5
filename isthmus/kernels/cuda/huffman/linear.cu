// SPDX-License-Identifier: Apache-2.0
// Products of a few vectors with a matrix whose weights stay compressed: they are decoded as huffman/units.cuh says and
// multiplied where they are, so that memory is asked for compressed bytes alone.
//
// A step of a warp, 256 weights, is a piece; rows of the matrix are whole pieces. A lane's eight weights are four of row
// lane / 4 and four of row 8 + lane / 4 of a 16 x 16 matrix on the tensor cores; the values that belong to four of them
// are column lane / 4 of the other factor. So two products have on their diagonals the sums of each four lanes, one of
// each half; nothing else of them is used.
// Sums of a row end where a warp or the row ends; `add_parts` adds them, always in the same order.
//
// Defined from outside: VECTORS, how many; BLOCKS of a multiprocessor.

#include "units.cuh"

const u32 PIECE = 32 * 8;

// A lane's part of sums + weights * values, of 16 x 8 floats, 16 x 16 and 16 x 8 bf16.
__device__ __forceinline__ void multiply(float (&sums)[4], uint4 weights, u32 values, u32 more_values) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(weights.x), "r"(weights.z), "r"(weights.y), "r"(weights.w), "r"(values), "r"(more_values));
}

struct ToProducts {
    const u8* __restrict__ rest;
    const uint4* __restrict__ vectors;  // VECTORS of pieces_a_row * PIECE
    float* __restrict__ parts;          // VECTORS for each piece
    u32 pieces_a_row, reciprocal;       // 2^32 / pieces_a_row, rounded up
    u64 count;
    u64 others[STEPS];

    __device__ __forceinline__ u32 entry(u32 found) { return turned(found); }

    __device__ __forceinline__ void ask(u64 first) {
        const u64* from = (const u64*)(rest + first) + (threadIdx.x & 31);
        if (first + PER_WARP <= count) {
#pragma unroll
            for (u32 step = 0; step < STEPS; step++) others[step] = __ldcs(from + step * 32);
        } else {
#pragma unroll
            for (u32 step = 0; step < STEPS; step++) others[step] = first + step * PIECE < count ? from[step * 32] : 0;
        }
    }

    __device__ __forceinline__ void take(const u32* rows, u64 first) {
        const u32 lane = threadIdx.x & 31, piece = (u32)(first / PIECE);
        const u32 row = pieces_a_row == 1 ? piece : __umulhi(piece, reciprocal);
        const u32 place = piece - row * pieces_a_row;
        const u32 row_length = pieces_a_row * 32;
        const uint4* values = vectors + place * 32 + lane;
        u32 until = pieces_a_row - place;  // steps to the row's end
        float upper[VECTORS][4] = {}, lower[VECTORS][4] = {};
#pragma unroll
        for (u32 step = 0; step < STEPS; step++) {
            const uint4 weights = merge_eight(eight_symbols(rows, step), others[step]);
#pragma unroll
            for (u32 k = 0; k < VECTORS; k++) {
                const uint4 eight = __ldg(values + k * row_length + step * 32);
                multiply(upper[k], weights, eight.x, eight.y);
                multiply(lower[k], weights, eight.z, eight.w);
            }
            if (step + 1 == until || step + 1 == STEPS) {
                finish(upper, lower, piece + step);
                if (step + 1 == until) values -= row_length;
                until = step + 1 == until ? until + pieces_a_row : until;
            }
        }
    }

    // Writes the sums of a row's pieces, up to `piece`, and begins anew.
    __device__ __forceinline__ void finish(float (&upper)[VECTORS][4], float (&lower)[VECTORS][4], u32 piece) {
        const u32 lane = threadIdx.x & 31, row = lane / 4;
#pragma unroll
        for (u32 k = 0; k < VECTORS; k++) {
            float sum = row % 2 ? upper[k][1] + lower[k][3] : upper[k][0] + lower[k][2];
            sum = lane % 4 == row / 2 ? sum : 0.0f;  // the lane that has the diagonal's element of its row
#pragma unroll
            for (u32 apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(ALL, sum, apart);
            if (lane == 0 && piece < count / PIECE) parts[(u64)piece * VECTORS + k] = sum;
#pragma unroll
            for (u32 i = 0; i < 4; i++) upper[k][i] = lower[k][i] = 0.0f;
        }
    }
};

// As decode_huffman_bf16. pieces_a_row: of the matrix. vectors: bf16, VECTORS of pieces_a_row * 256. parts: VECTORS for
// each piece, of which the last of each row and each eighth are written.
extern "C" __global__ void __launch_bounds__(256, BLOCKS)
multiply_huffman_bf16(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                      const u16* chunk_tables, u32 table_count, u64 count, u32 pieces_a_row, u32 reciprocal,
                      const u8* rest, const uint4* vectors, float* parts) {
    decode_all({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, true,
               ToProducts{rest, vectors, parts, pieces_a_row, reciprocal, count});
}

// products: bf16, VECTORS of `rows`; bias: bf16 of `rows`, or null.
extern "C" __global__ void __launch_bounds__(128)
add_parts(const float* parts, u32 pieces_a_row, u32 rows, const u16* bias, u16* products) {
    const u32 row = blockIdx.x * 128 + threadIdx.x;
    if (row >= rows) return;
    float sums[VECTORS] = {};
    const u64 begin = (u64)row * pieces_a_row, end = begin + pieces_a_row;
    for (u64 piece = begin; piece < end;) {
        const u64 last = min(piece | (STEPS - 1), end - 1);
#pragma unroll
        for (u32 k = 0; k < VECTORS; k++) sums[k] += parts[last * VECTORS + k];
        piece = last + 1;
    }
#pragma unroll
    for (u32 k = 0; k < VECTORS; k++) {
        const float sum = sums[k] + (bias ? __uint_as_float((u32)bias[row] << 16) : 0.0f);
        u16 rounded;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(sum));
        products[(u64)k * rows + row] = rounded;
    }
}
