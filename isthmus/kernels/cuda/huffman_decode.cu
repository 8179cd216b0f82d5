// SPDX-License-Identifier: Apache-2.0
// Decodes the Huffman streams of `dfloat.1` (docs/format-dfloat.md): 64 weights a thread, 2048 a warp, in one pass.
//
// A warp knows the bit at which its first group of 64 begins; the lengths of its groups, summed over the lanes, give each
// lane its own. A lane looks 12 bits up at a time, which gives up to three symbols, and puts whole words of four into
// its row of shared memory; then the warp writes 2048 results side by side. The streams come to shared memory while the
// warp decodes those before. Blocks are persistent and take turns, so that all of them together read and write one region
// of memory at a time; a block loads a table only where its next unit has another one. No place is read outside `words`
// or written outside `out`, whatever streams and index say.

#include "huffman_group.cuh"

const u32 ALL = 0xffffffffu;
const u64 NOTHING = ~0ull;
const u32 PER_WARP = 32 * GROUP, WARPS = 8;  // WARPS: of a block, and of a unit
const u32 UNITS_PER_CHUNK = 65536 / (PER_WARP * WARPS);
const u32 PITCH = 18;    // words of a lane's row: 16, and 2 that spread the rows over the banks and take what is too much
const u32 STAGED = 224;  // words of a warp's streams in shared memory: up to about 3 bits a symbol
const u32 READ_AHEAD = 32;  // words behind the last one that a stream may begin in

// What a lane's symbols are looked up in, where a warp's streams are, and where it puts its symbols: 48 KB.
struct Shared {
    u32 table[ENTRIES];
    u32 words[WARPS][2][STAGED];
    u32 rows[WARPS][32 * PITCH];
};

// Two weights of bf16: of two exponents, bytes FIRST and FIRST + 1, and of the same bytes of sign << 7 | mantissa.
template <int FIRST>
__device__ __forceinline__ u32 merge(u32 exponents, u32 rest) {
    const u32 high = __byte_perm(exponents, 0, FIRST == 0 ? 0x1404 : 0x3424);
    const u32 both = __byte_perm(rest, 0, FIRST == 0 ? 0x1100 : 0x3322);
    return high >> 1 | (both & 0x807f807fu);
}

// The streams and their index, see the kernels below.
struct Streams {
    const u32* words;
    u64 word_count;
    const u64* warps;
    const void* lengths;
    int wide;
    u64 count;
};

// What the index says of a warp's groups: NOTHING where there are none.
struct Index {
    u64 head;
    u32 length;
};

__device__ __forceinline__ Index load_index(const Streams& streams, u64 warp, bool wanted) {
    if (!wanted || warp * PER_WARP >= streams.count) return {NOTHING, 0};
    const u64 group = warp * 32 + (threadIdx.x & 31);
    if (streams.wide) return {__ldg(streams.warps + warp), __ldg((const u16*)streams.lengths + group)};
    return {__ldg(streams.warps + warp), __ldg((const u8*)streams.lengths + group)};
}

// Where a lane's group begins: `bit` bits behind word `base`. staged: whether the warp's words are in shared memory.
struct Place {
    u64 base;
    u32 bit;
    bool some, staged;
};

// Finds the places of a warp's groups and asks for its words to come to `target` in shared memory.
__device__ __forceinline__ Place stage(const Streams& streams, Index index, u32 target) {
    const u32 lane = threadIdx.x & 31;
    const u32 length = (u32)(index.head & 0xffff) + index.length;
    u32 sum = length;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const u32 before = __shfl_up_sync(ALL, sum, step);
        if (lane >= step) sum += before;
    }
    const u32 total = __shfl_sync(ALL, sum, 31);
    const u64 start = (index.head >> 16) - 2;  // the two bits before, see decode_group
    const u64 base = start >> 5 & ~3ull;
    const u32 within = (u32)start & 127;
    const bool some = index.head != NOTHING;
    const bool staged = some && start >> 5 < streams.word_count && total <= (STAGED - AHEAD - 4) * 32;
    if (staged) {
        const u32 enough = (within + total + LONGEST) / 128 + 1;  // the last group's length is not known
        const u32 pieces = min(min(enough, STAGED / 4), (u32)min((streams.word_count + READ_AHEAD - base) / 4, (u64)STAGED));
        for (u32 piece = lane; piece < pieces; piece += 32)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target + 16 * piece),
                         "l"(streams.words + base + 4 * piece)
                         : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    return {base, within + sum - length, some, staged};
}

template <bool MERGE>
__device__ __forceinline__ void write(const u32* rows, const u64* others, const u8* __restrict__ rest,
                                      void* __restrict__ out, u64 first, u64 count) {
    const u32 lane = threadIdx.x & 31;
    if (first + PER_WARP <= count) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const uint2 found = *(const uint2*)(rows + (j * 4 + lane / 8) * PITCH + lane % 8 * 2);
            if (MERGE) {
                const u32 left = (u32)others[j], right = (u32)(others[j] >> 32);
                const uint4 four = {merge<0>(found.x, left), merge<2>(found.x, left), merge<0>(found.y, right), merge<2>(found.y, right)};
                ((uint4*)((u16*)out + first))[j * 32 + lane] = four;
            } else {
                ((uint2*)((u8*)out + first))[j * 32 + lane] = found;
            }
        }
        return;
    }
    for (u32 i = lane; first + i < count; i += 32) {
        const u32 found = ((const u8*)(rows + i / GROUP * PITCH))[i % GROUP];
        if (MERGE) {
            const u32 other = rest[first + i];
            ((u16*)out)[first + i] = (u16)((other & 128) << 8 | found << 7 | (other & 127));
        } else {
            ((u8*)out)[first + i] = (u8)found;
        }
    }
}

template <bool MERGE>
__device__ __forceinline__ void decode_units(const Streams& streams, const u32* tables, const u16* chunk_tables,
                                             u32 table_count, u32 run, const u8* rest, void* out) {
    __shared__ Shared shared;
    const u32 lane = threadIdx.x & 31, number = threadIdx.x / 32;
    const u32 units = (u32)((streams.count + PER_WARP * WARPS - 1) / (PER_WARP * WARPS));
    const auto after = [=](u32 unit) { return (unit + 1) & (run - 1) ? unit + 1 : unit + 1 + (gridDim.x - 1) * run; };
    const u32 start = blockIdx.x * run;
    const u32 table = (u32)__cvta_generic_to_shared(shared.table);
    u32* const rows = shared.rows[number];
    u32 target = (u32)__cvta_generic_to_shared(shared.words[number][0]), other = target + 4 * STAGED;

    Place here = stage(streams, load_index(streams, (u64)start * WARPS + number, start < units), target);
    Index following = load_index(streams, (u64)after(start) * WARPS + number, after(start) < units);
    u32 loaded = ALL;
    for (u32 unit = start; unit < units; unit = after(unit)) {
        const u64 warp = (u64)unit * WARPS + number;
        const u64 first = warp * PER_WARP;
        u64 others[8];
        if (MERGE && first + PER_WARP <= streams.count) {  // these loads wait in registers until the exponents are there
#pragma unroll
            for (int j = 0; j < 8; j++) others[j] = __ldcs((const u64*)(rest + first) + j * 32 + lane);
        }
        const Place next = stage(streams, following, other);
        following = load_index(streams, (u64)after(after(unit)) * WARPS + number, after(after(unit)) < units);
        const u32 wanted = min((u32)__ldg(chunk_tables + unit / UNITS_PER_CHUNK), table_count - 1);
        if (wanted != loaded) {
            __syncthreads();
            const uint4* source = (const uint4*)(tables + (u64)wanted * ENTRIES);
#pragma unroll
            for (u32 k = 0; k < ENTRIES / 4; k += WARPS * 32)
                ((uint4*)shared.table)[k + threadIdx.x] = __ldg(source + k + threadIdx.x);
            __syncthreads();
            loaded = wanted;
        }
        asm volatile("cp.async.wait_group 1;" ::: "memory");  // all but what was asked for last
        __syncwarp();
        if (here.some && first + lane * GROUP < streams.count) {
            const u32 row = (u32)__cvta_generic_to_shared(rows + lane * PITCH);
            if (here.staged) {
                decode_group(table, SharedWords{target + 4 * (here.bit >> 5)}, here.bit & 31, row);
            } else {
                const u64 at = here.base + (here.bit >> 5);
                decode_group(table, GlobalWords{streams.words + min(at, streams.word_count - 1)}, here.bit & 31, row);
            }
        }
        __syncwarp();
        if (here.some) write<MERGE>(rows, others, rest, out, first, streams.count);
        __syncwarp();  // before the next unit's symbols overwrite the rows
        here = next;
        const u32 swap = target;
        target = other;
        other = swap;
    }
}

// A warp whose word is NOTHING writes nothing.
// words: the streams, little-endian, word_count of them, and 32 more that may be read, a multiple of four in all; none
// begins at bit 0 or 1. warps: one for each 2048 weights: the bit at which the first of its groups begins << 16 | what
// its lengths are less by. lengths: bits from each group to the next, 32 for each warp, u8 or, if `wide`, u16. tables:
// table_count of 4096 entries; chunk_tables: one for each 65536 weights. run: units that a block takes behind each other,
// a power of two. out: a byte for each of the `count` weights.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bytes(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                     const u16* chunk_tables, u32 table_count, u64 count, u32 run, u8* out) {
    decode_units<false>({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, run, nullptr, out);
}

// The same, the symbols being exponents; rest: sign << 7 | mantissa of each weight. out: bf16. Both aligned to 16 bytes.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bf16(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                    const u16* chunk_tables, u32 table_count, u64 count, u32 run, const u8* rest, u16* out) {
    decode_units<true>({words, word_count, warps, lengths, wide, count}, tables, chunk_tables, table_count, run, rest, out);
}
