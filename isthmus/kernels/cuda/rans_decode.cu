// SPDX-License-Identifier: Apache-2.0
// Decodes `rans.1` payloads (docs/format-entropy.md), a warp each: lane l of the warp holds the state of lane l.
//
// A round is one symbol of every lane. Lanes take words in the order of their symbols, so a lane's word lies as many
// words on as lanes before it need one: a ballot and a count of bits. Every lane of a warp takes the same branches
// outside `if (active)`, and returns with the same status. Nothing is read or written before its place is checked.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// As in isthmus/kernels/cuda/status.py.
enum Status : u8 { OK, BAD_HEAD, BAD_WORDS, BAD_ESCAPES, LEFT_OVER, BAD_TABLE, BAD_BOUNDS };

const u32 ALL = 0xffffffffu;
const u32 LOWER = 1u << 15;
const u32 MOST_LANES_LOG2 = 5;
const u32 FREQUENCY = (1u << 15) - 1;
const u32 IS_ESCAPE = 1u << 15;
const i64 LEAST = -2147483648LL, MOST = 2147483647LL;

// Reads the varint at data[*at] of data[0 .. length - 1] and moves *at behind it. False when it is cut, not minimal, or
// longer than the bits allow: its last byte may begin at bit `last_bits`.
__device__ bool read_varint(const u8* data, i64 length, int last_bits, i64* at, u64* value) {
    u64 found = 0;
    for (int bits = 0; bits <= last_bits; bits += 7) {
        if (*at >= length) return false;
        const u32 byte = data[(*at)++];
        found |= (u64)(byte & 127) << bits;
        if (byte < 128) {
            *value = found;
            return byte > 0 || bits == 0;
        }
    }
    return false;
}

__device__ Status decode_chunk(const u8* payload, i64 size, const u16* indices, int step, const u64* packed,
                               const int* sizes, u32 tables, u32 precision, int* out, i64 n) {
    const u32 lane = threadIdx.x & 31;
    const u32 before = (1u << lane) - 1;
    if (n == 0) return size == 0 ? OK : LEFT_OVER;

    if (size < 2 || payload[0] > MOST_LANES_LOG2) return BAD_HEAD;
    const u32 lanes = 1u << payload[0];
    i64 head = 1;
    u64 escape_bytes = 0;
    if (!read_varint(payload, size, 56, &head, &escape_bytes)) return BAD_HEAD;
    const i64 rest = size - head - 4 * (i64)lanes;  // of words and escapes
    if (rest < 0 || escape_bytes > (u64)rest || ((u64)rest - escape_bytes) % 2) return BAD_HEAD;
    u32 x = LOWER;
    if (lane < lanes) {
        const u8* state = payload + head + 4 * lane;
        x = state[0] | (u32)state[1] << 8 | (u32)state[2] << 16 | (u32)state[3] << 24;
    }
    if (__any_sync(ALL, x < LOWER || x >= LOWER << 16)) return BAD_HEAD;

    const u8* words = payload + head + 4 * lanes;
    const i64 word_count = (rest - (i64)escape_bytes) / 2;
    const u8* escapes = words + 2 * word_count;
    i64 at = 0, escape_at = 0;
    for (i64 round = 0; round < n; round += lanes) {
        const i64 i = round + lane;
        const bool active = lane < lanes && i < n;
        const u32 table = active ? indices[i * step] : 0;
        if (__any_sync(ALL, table >= tables)) return BAD_TABLE;

        u64 row = 0;
        bool empty = false;
        if (active) {
            row = packed[((u64)table << precision) + (x & ((1u << precision) - 1))];
            x = ((u32)row & FREQUENCY) * (x >> precision) + ((u32)row >> 16);
            empty = x < LOWER;
        }
        const u32 takers = __ballot_sync(ALL, empty);
        if (__popc(takers) > word_count - at) return BAD_WORDS;
        if (empty) {
            const u8* word = words + 2 * (at + __popc(takers & before));
            x = x << 16 | word[0] | (u32)word[1] << 8;
        }
        at += __popc(takers);

        i64 value = (int)(row >> 32);
        u32 waiting = __ballot_sync(ALL, active && ((u32)row & IS_ESCAPE) != 0);
        for (; waiting; waiting &= waiting - 1) {
            u64 code = 0;
            if (!read_varint(escapes, (i64)escape_bytes, 28, &escape_at, &code)) return BAD_ESCAPES;
            bool beyond = false;
            if (lane == (u32)__ffs(waiting) - 1) {  // `value` is the first integer beyond the alphabet
                const i64 distance = (i64)(code >> 1);
                value = code & 1 ? value - sizes[table] - 1 - distance : value + distance;
                beyond = value < LEAST || value > MOST;
            }
            if (__any_sync(ALL, beyond)) return BAD_ESCAPES;
        }
        if (active) out[i] = (int)value;
    }
    const bool used = at == word_count && escape_at == (i64)escape_bytes;
    return __all_sync(ALL, used && x == LOWER) ? OK : LEFT_OVER;
}

// data: payload j has the bytes byte_bounds[j] .. byte_bounds[j + 1] - 1, and its symbols go to
// out[symbol_bounds[j] .. symbol_bounds[j + 1] - 1]. The table of its symbol i is
// indices[j * chunk_step + symbol_bounds[j] * first_step + i * step]. packed: 2^precision rows a table, of value << 32 |
// place within the entry << 16 | is escape << 15 | frequency. status: one a payload.
extern "C" __global__ void __launch_bounds__(128)
decode_rans(const u8* data, i64 data_bytes, const i64* byte_bounds, const i64* symbol_bounds, i64 chunks,
            const u16* indices, i64 index_count, int chunk_step, int first_step, int step, const u64* packed,
            const int* sizes, u32 tables, u32 precision, int* out, i64 out_length, u8* status) {
    const i64 chunk = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (chunk >= chunks) return;
    const i64 begin = byte_bounds[chunk], end = byte_bounds[chunk + 1];
    const i64 first = symbol_bounds[chunk], last = symbol_bounds[chunk + 1];
    const i64 n = last - first, index = chunk * chunk_step + first * first_step;
    Status found = BAD_BOUNDS;
    if (0 <= begin && begin <= end && end <= data_bytes && 0 <= first && first <= last && last <= out_length
        && (n == 0 || index + (n - 1) * step < index_count))
        found = decode_chunk(data + begin, end - begin, indices + index, step, packed, sizes, tables, precision,
                             out + first, n);
    if (threadIdx.x % 32 == 0) status[chunk] = found;
}
