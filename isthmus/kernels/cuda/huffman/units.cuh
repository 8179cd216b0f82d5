// SPDX-License-Identifier: Apache-2.0
// How the blocks of a kernel go through Huffman streams of `dfloat.1` (docs/format-dfloat.md): 64 symbols a thread, 2048
// a warp, in one pass.
//
// A warp knows the bit at which its first group of 64 begins; the lengths of its groups, summed over the lanes, give each
// lane its own. A lane looks 12 bits up at a time, which gives up to three symbols, and puts whole words of four into
// its row of shared memory; then the warp uses 2048 symbols side by side. The streams come to shared memory while the
// warp decodes those before. Blocks are persistent; they load a table only where their next unit has another one. No place is read outside `words`,
// whatever streams and index say.

#include "group.cuh"

const u32 ALL = 0xffffffffu;
const u64 NOTHING = ~0ull;
const u32 PER_WARP = 32 * GROUP, WARPS = 8;  // WARPS: of a block, and of a unit
const u32 UNIT = PER_WARP * WARPS, UNITS_PER_CHUNK = 65536 / UNIT;
const u32 PITCH = 18;    // words of a lane's row: 16, and 2 that spread the rows over the banks and take what is too much
const u32 STAGED = 224;  // words of a warp's streams in shared memory: up to about 3 bits a symbol
const u32 READ_AHEAD = 32;  // words behind the last one that a stream may begin in
const u32 STEPS = 8;        // in which a warp uses its symbols, 8 a lane each

// What a lane's symbols are looked up in, where a warp's streams are, and where it puts its symbols: 48 KB.
struct Shared {
    u32 table[ENTRIES];
    u32 words[WARPS][2][STAGED];
    u32 rows[WARPS][32 * PITCH];
};

// Eight symbols of a lane, in step `step` of its warp: those from step * 256 + lane * 8 on.
__device__ __forceinline__ uint2 eight_symbols(const u32* rows, u32 step) {
    const u32 lane = threadIdx.x & 31;
    return *(const uint2*)(rows + (step * 4 + lane / 8) * PITCH + lane % 8 * 2);
}

// An entry of a table with its symbols turned right by a bit, as `merge_eight` takes them: the low bits of exponents
// come first, where they are the highest of the lower halves of weights.
__device__ __forceinline__ u32 turned(u32 entry) {
    return (entry & 0xff000000u) | (entry & 0x00fefefeu) >> 1 | (entry & 0x00010101u) << 7;
}

// The highest bit of each byte of `top`, the others of `others`. The compiler takes two instructions.
__device__ __forceinline__ u32 top_bits_of(u32 top, u32 others) {
    u32 found;
    asm("lop3.b32 %0, %1, %2, 0x80808080, 0xe4;" : "=r"(found) : "r"(top), "r"(others));
    return found;
}

// Eight weights of bf16, in order, of their exponents, turned, and of eight bytes of sign << 7 | mantissa.
__device__ __forceinline__ uint4 merge_eight(uint2 exponents, u64 rest) {
    const u32 left = (u32)rest, right = (u32)(rest >> 32);
    const u32 low = top_bits_of(exponents.x, left), high = top_bits_of(left, exponents.x);
    const u32 lower = top_bits_of(exponents.y, right), higher = top_bits_of(right, exponents.y);
    return {__byte_perm(low, high, 0x5140), __byte_perm(low, high, 0x7362), __byte_perm(lower, higher, 0x5140),
            __byte_perm(lower, higher, 0x7362)};
}

// The streams and their index, see huffman/decode.cu.
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
#pragma unroll
        for (u32 piece = lane, k = 0; k < STAGED / 4; k += 32, piece += 32)
            if (piece < pieces)
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target + 16 * piece),
                             "l"(streams.words + base + 4 * piece)
                             : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    return {base, within + sum - length, some, staged};
}

// Decodes unit `start`, that which lies `apart` units on, and so on, of those before `end`. use: what becomes of the
// symbols; use.ask(first) begins to read what goes with the 2048 of a warp from `first` on, use.take(rows, first) has them
// in shared memory; use.entry(e) is what stands in the table for entry e.
template <class Use>
__device__ __forceinline__ void decode_units(const Streams& streams, const u32* tables, const u16* chunk_tables,
                                             u32 table_count, u32 start, u32 apart, u32 end, Use use) {
    __shared__ Shared shared;
    const u32 lane = threadIdx.x & 31, number = threadIdx.x / 32;
    const u32 table = (u32)__cvta_generic_to_shared(shared.table);
    u32* const rows = shared.rows[number];
    u32 target = (u32)__cvta_generic_to_shared(shared.words[number][0]), other = target + 4 * STAGED;

    Place here = stage(streams, load_index(streams, (u64)start * WARPS + number, start < end), target);
    Index following = load_index(streams, (u64)(start + apart) * WARPS + number, start + apart < end);
    u32 loaded = ALL;
    for (u32 unit = start; unit < end; unit += apart) {
        const u64 warp = (u64)unit * WARPS + number;
        const u64 first = warp * PER_WARP;
        use.ask(first);
        const Place next = stage(streams, following, other);
        following = load_index(streams, (u64)(unit + 2 * apart) * WARPS + number, unit + 2 * apart < end);
        const u32 wanted = min((u32)__ldg(chunk_tables + unit / UNITS_PER_CHUNK), table_count - 1);
        if (wanted != loaded) {
            __syncthreads();
            const uint4* source = (const uint4*)(tables + (u64)wanted * ENTRIES);
#pragma unroll
            for (u32 k = 0; k < ENTRIES / 4; k += WARPS * 32) {
                const uint4 four = __ldg(source + k + threadIdx.x);
                ((uint4*)shared.table)[k + threadIdx.x] = {use.entry(four.x), use.entry(four.y), use.entry(four.z), use.entry(four.w)};
            }
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
        if (here.some) use.take(rows, first);
        __syncwarp();  // before the next unit's symbols overwrite the rows
        here = next;
        const u32 swap = target;
        target = other;
        other = swap;
    }
}

// Decodes all streams. ranges: each block takes a range of units, so that it loads few tables; otherwise blocks take
// turns, so that all of them together read and write one region of memory at a time.
template <class Use>
__device__ __forceinline__ void decode_all(const Streams& streams, const u32* tables, const u16* chunk_tables,
                                           u32 table_count, bool ranges, Use use) {
    const u32 units = (u32)((streams.count + UNIT - 1) / UNIT);
    const u32 start = ranges ? (u32)((u64)units * blockIdx.x / gridDim.x) : blockIdx.x;
    const u32 end = ranges ? (u32)((u64)units * (blockIdx.x + 1) / gridDim.x) : units;
    decode_units(streams, tables, chunk_tables, table_count, start, ranges ? 1 : gridDim.x, end, use);
}
