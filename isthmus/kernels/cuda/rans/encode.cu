// SPDX-License-Identifier: Apache-2.0
// Encodes `rans.1` payloads (docs/format-entropy.md), a warp each, in two launches: `encode_rans` codes the symbols and
// tells how long each payload will be, `write_rans` puts the payloads together once memory of that length is there.
//
// A round is one symbol of every lane, and the last round is coded first. Words are put in front of each other, so
// within a round the words of the lanes lie in rising order of the lanes, as the decoder takes them.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// As in isthmus/kernels/cuda/rans/status.py.
enum Status : u8 { OK, BAD_TABLE = 5, BAD_BOUNDS = 6 };

const u32 ALL = 0xffffffffu;
const u32 LOWER = 1u << 15;
const u32 MOST_LANES = 32;

// As `rans_encode.py` hands them on: the arrays of a family of tables on the device.
struct Family {
    const int* low;
    const int* sizes;
    const int* starts;  // the first entry of each table
    const uint4* rows;  // of each entry: frequency, cumulative frequency, reciprocal and shift (`lanes`)
    const int* costs;   // of each entry: bits times 65536
    u32 tables;
    u32 precision;
};

struct Found {
    u32 entry;
    bool escaped;
    u64 code;  // what the varint of an escape says
};

// Modulo 2^32 a symbol below its alphabet lies far beyond it, since |low| <= 2^24 and sizes < 2^15.
__device__ Found find_entry(const Family& family, int symbol, u32 table) {
    const u32 size = (u32)family.sizes[table];
    const u32 place = (u32)symbol - (u32)family.low[table];
    const i64 apart = (i64)symbol - family.low[table];
    const bool escaped = place >= size;
    u64 code = 0;
    if (escaped) code = apart >= 0 ? (u64)(2 * (apart - size)) : (u64)(2 * (-1 - apart) + 1);
    return {(u32)family.starts[table] + (escaped ? size : place), escaped, code};
}

__device__ u32 varint_length(u64 value) {
    u32 length = 1;
    while (value >>= 7) ++length;
    return length;
}

__device__ void write_varint(u8* out, u64 value) {
    for (; value >= 128; value >>= 7) *out++ = (u8)((value & 127) | 128);
    *out = (u8)value;
}

__device__ u64 sum_of_warp(u64 value) {
    for (int apart = 16; apart; apart /= 2) value += __shfl_xor_sync(ALL, value, apart);
    return value;
}

// symbols, indices: as out and indices of `decode_rans`. lanes: 0 for the power of two, at most 32, that leaves
// lane_cost bits times 65536 to each lane. words: room for a word of each symbol. Writes, of each payload, its states
// [32], its plan (lanes, place of the first word written, bytes of escapes), its bytes and its status.
extern "C" __global__ void __launch_bounds__(128)
encode_rans(const int* symbols, i64 symbol_count, const i64* symbol_bounds, i64 chunks, const u16* indices,
            i64 index_count, int chunk_step, int first_step, int step, const Family family, u32 lanes, u64 lane_cost,
            u16* words, u32* states, i64* plans, i64* sizes, u8* status) {
    const u32 lane = threadIdx.x & 31;
    const i64 chunk = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (chunk >= chunks) return;
    const i64 first = symbol_bounds[chunk], last = symbol_bounds[chunk + 1];
    const i64 n = last - first, index = chunk * chunk_step + first * first_step;
    if (lane == 0) sizes[chunk] = 0;
    if (first < 0 || first > last || last > symbol_count || (n > 0 && index + (n - 1) * step >= index_count)) {
        if (lane == 0) status[chunk] = BAD_BOUNDS;
        return;
    }
    symbols += first;
    indices += index;
    words += first;

    u64 cost = 0, escape_bytes = 0;
    bool wrong = false;
    for (i64 i = lane; i < n; i += 32) {
        const u32 table = indices[i * step];
        wrong |= table >= family.tables;
        if (wrong) break;
        const Found found = find_entry(family, symbols[i], table);
        cost += (u64)family.costs[found.entry];
        if (found.escaped) escape_bytes += varint_length(found.code);
    }
    if (__any_sync(ALL, wrong)) {
        if (lane == 0) status[chunk] = BAD_TABLE;
        return;
    }
    cost = sum_of_warp(cost);
    escape_bytes = sum_of_warp(escape_bytes);
    if (lanes == 0)
        for (lanes = 1; lanes < MOST_LANES && cost >= 2 * lanes * lane_cost;) lanes *= 2;

    const u32 before = (1u << lane) - 1;
    const u32 total = 1u << family.precision;
    u32 x = LOWER;
    i64 at = n;
    for (i64 round = (n - 1) / lanes * lanes; round >= 0 && n > 0; round -= lanes) {
        const i64 i = round + lane;
        const bool active = lane < lanes && i < n;
        uint4 row = {1, 0, 0, 0};
        if (active) row = family.rows[find_entry(family, symbols[i], indices[i * step]).entry];
        const bool full = active && x >= row.x << (31 - family.precision);
        const u32 givers = __ballot_sync(ALL, full);
        at -= __popc(givers);
        if (full) {
            words[at + __popc(givers & before)] = (u16)(x & 0xffff);
            x >>= 16;
        }
        if (active) {
            const u32 quotient = (u32)((u64)x * row.z >> row.w);
            x += row.y + quotient * (total - row.x);
        }
    }
    states[chunk * 32 + lane] = x;
    if (lane == 0) {
        plans[chunk * 3] = lanes;
        plans[chunk * 3 + 1] = at;
        plans[chunk * 3 + 2] = (i64)escape_bytes;
        if (n > 0) sizes[chunk] = 1 + varint_length(escape_bytes) + 4 * lanes + 2 * (n - at) + (i64)escape_bytes;
        status[chunk] = OK;
    }
}

// Writes payload j to out[byte_bounds[j] .. byte_bounds[j + 1] - 1], where the bounds are the sums of the sizes that
// `encode_rans` told, and all other arguments are those that it was called with and filled.
extern "C" __global__ void __launch_bounds__(128)
write_rans(const int* symbols, const i64* symbol_bounds, i64 chunks, const u16* indices, int chunk_step, int first_step,
           int step, const Family family, const u16* words, const u32* states, const i64* plans,
           const i64* byte_bounds, u8* out) {
    const u32 lane = threadIdx.x & 31;
    const i64 chunk = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (chunk >= chunks) return;
    const i64 first = symbol_bounds[chunk], n = symbol_bounds[chunk + 1] - first;
    if (byte_bounds[chunk] == byte_bounds[chunk + 1]) return;
    symbols += first;
    indices += chunk * chunk_step + first * first_step;
    words += first;
    out += byte_bounds[chunk];

    const u32 lanes = (u32)plans[chunk * 3];
    const i64 begin = plans[chunk * 3 + 1], escape_bytes = plans[chunk * 3 + 2];
    if (lane == 0) {
        out[0] = (u8)(__ffs((int)lanes) - 1);
        write_varint(out + 1, (u64)escape_bytes);
    }
    out += 1 + varint_length((u64)escape_bytes);
    if (lane < lanes)
        for (int k = 0; k < 4; ++k) out[4 * lane + k] = (u8)(states[chunk * 32 + lane] >> (8 * k));
    out += 4 * lanes;
    for (i64 k = lane; k < n - begin; k += 32) {
        const u32 word = words[begin + k];
        out[2 * k] = (u8)word;
        out[2 * k + 1] = (u8)(word >> 8);
    }
    out += 2 * (n - begin);
    if (escape_bytes == 0) return;

    for (i64 round = 0; round < n; round += 32) {
        const i64 i = round + lane;
        Found found = {0, false, 0};
        if (i < n) found = find_entry(family, symbols[i], indices[i * step]);
        const u32 length = found.escaped ? varint_length(found.code) : 0;
        u32 end = length;  // becomes the sum of the lengths up to this lane
        for (u32 apart = 1; apart < 32; apart *= 2) {
            const u32 other = __shfl_up_sync(ALL, end, apart);
            if (lane >= apart) end += other;
        }
        if (found.escaped) write_varint(out + end - length, found.code);
        out += __shfl_sync(ALL, end, 31);
    }
}
