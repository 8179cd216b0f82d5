// SPDX-License-Identifier: Apache-2.0
// Decodes the Huffman streams of `dfloat.1` to memory, as huffman/units.cuh says. No place is written outside `out`,
// whatever streams and index say.

#include "units.cuh"

struct ToBytes {
    u8* __restrict__ out;
    u64 count;

    __device__ __forceinline__ u32 entry(u32 found) { return found; }

    __device__ __forceinline__ void ask(u64) {}

    __device__ __forceinline__ void take(const u32* rows, u64 first) {
        const u32 lane = threadIdx.x & 31;
        if (first + PER_WARP <= count) {
#pragma unroll
            for (u32 step = 0; step < STEPS; step++) ((uint2*)(out + first))[step * 32 + lane] = eight_symbols(rows, step);
            return;
        }
        for (u32 i = lane; first + i < count; i += 32) out[first + i] = ((const u8*)(rows + i / GROUP * PITCH))[i % GROUP];
    }
};

struct ToWeights {
    const u8* __restrict__ rest;
    u16* __restrict__ out;
    u64 count;
    u64 others[STEPS];  // of `rest`; they wait in registers until the exponents are there

    __device__ __forceinline__ u32 entry(u32 found) { return turned(found); }

    __device__ __forceinline__ void ask(u64 first) {
        if (first + PER_WARP > count) return;
#pragma unroll
        for (u32 step = 0; step < STEPS; step++)
            others[step] = __ldcs((const u64*)(rest + first) + step * 32 + (threadIdx.x & 31));
    }

    __device__ __forceinline__ void take(const u32* rows, u64 first) {
        const u32 lane = threadIdx.x & 31;
        if (first + PER_WARP <= count) {
#pragma unroll
            for (u32 step = 0; step < STEPS; step++)
                ((uint4*)(out + first))[step * 32 + lane] = merge_eight(eight_symbols(rows, step), others[step]);
            return;
        }
        for (u32 i = lane; first + i < count; i += 32) {
            const u32 exponent = ((const u8*)(rows + i / GROUP * PITCH))[i % GROUP], other = rest[first + i];
            out[first + i] = (u16)((other & 128) << 8 | (exponent & 127) << 8 | (exponent & 128) | (other & 127));
        }
    }
};

// A row of a matrix.
struct ToRow {
    const u8* __restrict__ rest;
    u16* __restrict__ row;
    u64 begin, end;  // its weights

    __device__ __forceinline__ u32 entry(u32 found) { return found; }

    __device__ __forceinline__ void ask(u64) {}

    __device__ __forceinline__ void take(const u32* rows, u64 first) {
        for (u64 i = max(begin, first) + (threadIdx.x & 31); i < min(end, first + PER_WARP); i += 32) {
            const u32 k = (u32)(i - first), other = rest[i], exponent = ((const u8*)(rows + k / GROUP * PITCH))[k % GROUP];
            row[i - begin] = (u16)((other & 128) << 8 | exponent << 7 | (other & 127));
        }
    }
};

// A warp whose word is NOTHING writes nothing.
// words: the streams, little-endian, word_count of them, and 32 more that may be read, a multiple of four in all; none
// begins at bit 0 or 1. warps: one for each 2048 weights: the bit at which the first of its groups begins << 16 | what
// its lengths are less by. lengths: bits from each group to the next, 32 for each warp, u8 or, if `wide`, u16. tables:
// table_count of 4096 entries; chunk_tables: one for each 65536 weights. out: a byte for each of the `count` weights.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bytes(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                     const u16* chunk_tables, u32 table_count, u64 count, u8* out) {
    decode_all({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, false,
               ToBytes{out, count});
}

// The same, the symbols being exponents; rest: sign << 7 | mantissa of each weight. out: bf16. Both aligned to 16 bytes.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bf16(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                    const u16* chunk_tables, u32 table_count, u64 count, const u8* rest, u16* out) {
    decode_all({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, false,
               ToWeights{rest, out, count});
}

// Some rows of a matrix: row k of `out` is row ids[k] of row_count, or NaN where there is none. blocks_a_row: so many
// take a row, a unit each.
extern "C" __global__ void __launch_bounds__(256, 4)
gather_huffman_bf16(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                    const u16* chunk_tables, u32 table_count, u64 count, u32 blocks_a_row, const u8* rest,
                    const long long* ids, u64 row_count, u64 columns, u16* out) {
    const u32 number = blockIdx.x / blocks_a_row, part = blockIdx.x % blocks_a_row;
    const u64 id = (u64)ids[number];
    u16* const row = out + number * columns;
    if (id >= row_count) {
        for (u64 i = part * 256 + threadIdx.x; i < columns; i += blocks_a_row * 256) row[i] = 0x7fff;
        return;
    }
    const u64 begin = id * columns, end = begin + columns;
    const u32 unit = (u32)(begin / UNIT) + part;
    if ((u64)unit * UNIT >= end) return;
    decode_units({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, unit, 1, unit + 1,
                 ToRow{rest, row, begin, end});
}
