// SPDX-License-Identifier: Apache-2.0
// Decodes the Huffman streams of `dfloat.1` (docs/format-dfloat.md): 64 weights a thread, 2048 a warp, in one pass.
//
// A warp knows the bit at which its first group of 64 begins; the lengths of its groups, summed over the lanes, give each
// lane its own. A lane looks 12 bits up at a time, which gives up to three symbols, and puts whole words of four into
// its row of shared memory; then the warp writes 2048 results side by side. Blocks are persistent: a block takes a run of
// units of 8 warps and loads a table only where the next unit has another one. No place is read outside `words` or
// written outside `out`, whatever streams and index say.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

const u32 ALL = 0xffffffffu;
const u64 NOTHING = ~0ull;
const u32 GROUP = 64, PER_WARP = 32 * GROUP, WARPS = 8;  // WARPS: of a block, and of a unit
const u32 UNITS_PER_CHUNK = 65536 / (PER_WARP * WARPS);
const u32 ENTRIES = 4096;
const u32 PITCH = 18;  // words of a lane's row: 16, and 2 that spread the rows over the banks and take what is too much

// What a lane's symbols are looked up in, and where its warp puts them.
struct Shared {
    u32 table[ENTRIES];
    u32 rows[WARPS][32 * PITCH];
};

__device__ __forceinline__ u32 load_shared(u32 place) {
    u32 value;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(place));
    return value;
}

// The compiler would branch round a store or a load of few lanes; with a predicate it costs one instruction.
__device__ __forceinline__ void store_shared_if(bool condition, u32 place, u32 value) {
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %0, 0; @p st.shared.u32 [%1], %2; }" ::"r"((u32)condition), "r"(place),
                 "r"(value)
                 : "memory");
}

__device__ __forceinline__ void load_if(bool condition, const u32* place, u32* value) {
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; @p ld.global.nc.u32 %0, [%2]; }"
                 : "+r"(*value)
                 : "r"((u32)condition), "l"(place));
}

// Writes 64 symbols, and up to 4 that follow, to the row at `row` in shared memory; the first begins behind bit `place` + 1,
// 1 to 32, of words[0]. It reads less than 32 words: 68 symbols of 12 bits take 26, and three are loaded ahead.
__device__ __forceinline__ void decode_group(u32 table, const u32* words, u32 place, u32 row) {
    u32 low = __ldg(words), high = __ldg(words + 1), next = __ldg(words + 2);
    u32 at = 3;
    u32 older = 0, newer = 0;  // the last eight symbols, the first lowest
    u32 room = 64;             // less the bits of the symbols behind the last whole word
    const u32 end = row + GROUP;
    while (row < end) {
#pragma unroll
        for (int twice = 0; twice < 2; twice++) {  // place < 32 before the first, so place + 14 <= 64 before the second
            // The 12 bits stand behind two others, so they are the place in bytes. An entry is used << 28 | number of
            // symbols << 24 | up to three symbols, the first lowest.
            const u32 window = (u32)((((u64)high << 32) | low) >> place);
            const u32 entry = load_shared(table + (window & ((ENTRIES - 1) << 2)));
            const u32 bits = entry >> 21 & 24;
            place += entry >> 28;
            older = __funnelshift_r(older, newer, bits);
            newer = __funnelshift_r(newer, entry, bits);
            room -= bits;
            const bool full = room <= 32;
            store_shared_if(full, row, __funnelshift_rc(older, newer, room));
            row = full ? row + 4 : row;
            room = full ? room + 32 : room;
        }
        const bool used = place >= 32;
        low = used ? high : low;
        high = used ? next : high;
        load_if(used, words + at, &next);
        at = used ? at + 1 : at;
        place = used ? place - 32 : place;
    }
}

// Two weights of bf16: of two exponents, bytes FIRST and FIRST + 1, and of the same bytes of sign << 7 | mantissa.
template <int FIRST>
__device__ __forceinline__ u32 merge(u32 exponents, u32 rest) {
    const u32 high = __byte_perm(exponents, 0, FIRST == 0 ? 0x1404 : 0x3424);
    const u32 both = __byte_perm(rest, 0, FIRST == 0 ? 0x1100 : 0x3322);
    return high >> 1 | (both & 0x807f807fu);
}

template <bool MERGE>
__device__ __forceinline__ void decode_warp(Shared& shared, const u32* __restrict__ words, u64 last,
                                            const u64* __restrict__ warps, const void* __restrict__ lengths, int wide,
                                            u64 count, const u8* __restrict__ rest, void* __restrict__ out, u64 warp) {
    const u32 lane = threadIdx.x & 31;
    const u64 first = warp * PER_WARP;
    const bool whole = first + PER_WARP <= count;
    const u64 head = __ldg(warps + warp);
    if (head == NOTHING) return;
    const u64 group = warp * 32 + lane;
    const u32 length = (u32)(head & 0xffff) + (wide ? __ldg((const u16*)lengths + group) : __ldg((const u8*)lengths + group));
    u64 others[8];
    if (MERGE && whole) {  // these loads wait in registers until the exponents are there
#pragma unroll
        for (int j = 0; j < 8; j++) others[j] = __ldcs((const u64*)(rest + first) + j * 32 + lane);
    }
    u32 sum = length;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const u32 before = __shfl_up_sync(ALL, sum, step);
        if (lane >= step) sum += before;
    }
    u32* const rows = shared.rows[threadIdx.x / 32];
    if (first + lane * GROUP < count) {
        const u64 bit = (head >> 16) + (sum - length) - 2;  // the two bits before, see decode_group
        decode_group((u32)__cvta_generic_to_shared(shared.table), words + min(bit >> 5, last), (u32)bit & 31,
                     (u32)__cvta_generic_to_shared(rows + lane * PITCH));
    }
    __syncwarp();
    if (whole) {
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
    } else {
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
    __syncwarp();  // before the next unit's symbols overwrite the rows
}

template <bool MERGE>
__device__ __forceinline__ void decode_units(const u32* words, u64 word_count, const u64* warps, const void* lengths,
                                             int wide, const u32* tables, const u16* chunk_tables, u32 table_count,
                                             u64 count, const u8* rest, void* out) {
    __shared__ Shared shared;
    const u32 units = (u32)((count + PER_WARP * WARPS - 1) / (PER_WARP * WARPS));
    const u32 each = units / gridDim.x, more = units % gridDim.x;
    const u32 start = each * blockIdx.x + min(blockIdx.x, more);
    const u32 stop = start + each + (blockIdx.x < more);
    u32 loaded = ALL;
    for (u32 unit = start; unit < stop; unit++) {
        const u32 wanted = min((u32)__ldg(chunk_tables + unit / UNITS_PER_CHUNK), table_count - 1);
        if (wanted != loaded) {
            __syncthreads();
            const uint4* source = (const uint4*)(tables + (u64)wanted * ENTRIES);
            for (u32 i = threadIdx.x; i < ENTRIES / 4; i += WARPS * 32) ((uint4*)shared.table)[i] = __ldg(source + i);
            __syncthreads();
            loaded = wanted;
        }
        const u64 warp = (u64)unit * WARPS + threadIdx.x / 32;
        if (warp * PER_WARP < count)
            decode_warp<MERGE>(shared, words, word_count - 1, warps, lengths, wide, count, rest, out, warp);
    }
}

// A warp whose word is NOTHING writes nothing.
// words: the streams, little-endian, word_count of them, and 32 more that may be read; none begins at bit 0 or 1. warps: one for each 2048 weights: the bit at which the first of
// its groups begins << 16 | what its lengths are less by. lengths: bits from each group to the next, 32 for each warp,
// u8 or, if `wide`, u16. tables: table_count of 4096 entries; chunk_tables: one for each 65536 weights.
// out: a byte for each of the `count` weights.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bytes(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                     const u16* chunk_tables, u32 table_count, u64 count, u8* out) {
    decode_units<false>(words, word_count, warps, lengths, wide, tables, chunk_tables, table_count, count, nullptr, out);
}

// The same, the symbols being exponents; rest: sign << 7 | mantissa of each weight. out: bf16. Both aligned to 16 bytes.
extern "C" __global__ void __launch_bounds__(256, 4)
decode_huffman_bf16(const u32* words, u64 word_count, const u64* warps, const void* lengths, int wide, const u32* tables,
                    const u16* chunk_tables, u32 table_count, u64 count, const u8* rest, u16* out) {
    decode_units<true>(words, word_count, warps, lengths, wide, tables, chunk_tables, table_count, count, rest, out);
}
