// SPDX-License-Identifier: Apache-2.0
// Decodes `rans.1` payloads (docs/format-entropy.md), a warp each: lane k of the stream is lane k of the warp.
//
// A round is one symbol of every lane. Lanes take words in the order of their symbols, so a lane's word lies as many
// words on as lanes before it need one: a ballot and a count of bits. Words come to a ring in shared memory 64 at a time,
// read from memory long before they are needed. Four rounds go on without a question; then the warp asks whether words
// ran out or an escape came, which changes no state and is put right in the output. Every lane of a warp takes the same
// branches but for predicates, and returns with the same status. Nothing is read or written outside its place.
//
// Defined from outside: VALUE, i8, i16 or i32, the type of a symbol in the output; INDEX, u8 or u16, that of a table's
// number; STEP, 1 if each symbol has one, 0 if each chunk has; PRECISION of the tables; LOOKUP, how an entry is found: 0
// from rows for every slot in global memory, 1 from the only table in shared memory, 2 from many; WIDTH, of these.

#include "lookup.cuh"
#include "varint.cuh"

// As in isthmus/kernels/cuda/rans/status.py.
enum Status : u8 { OK, BAD_HEAD, BAD_WORDS, BAD_ESCAPES, LEFT_OVER, BAD_TABLE, BAD_BOUNDS, BAD_VALUE };

const u32 ALL = 0xffffffffu;
const u32 LOWER = 1u << 15;
const u32 MOST_LANES = 32;
const u32 ROUNDS = 4;                       // between questions
const u32 NEEDED = 2 * MOST_LANES * ROUNDS; // bytes of words that these may take
const u32 PIECE = 2 * 64, RING = 512;       // bytes that come to a ring at a time, and that it holds
const u32 RING_AND_REST = RING + 16;        // a ring, and behind it the last bytes of the words
const u32 WARPS = 32;                       // of a block
const i64 MOST = 1 << 30;                   // symbols or bytes of a chunk
const i64 LEAST_VALUE = -(1LL << (8 * sizeof(VALUE) - 1)), MOST_VALUE = -1 - LEAST_VALUE;

// The tables of a chunk's symbols. A number that is none stands for the last one, and `greatest` tells.
struct Choice {
    const INDEX* indices;
    u32 tables, greatest;

    __device__ __forceinline__ u32 table(u32 index) {
        greatest = max(greatest, index);
        return min(index, tables - 1);
    }
    __device__ __forceinline__ u32 table_of(u32 i) { return table(__ldg(indices + i * STEP)); }
};

// 16-bit words from any byte on, through a ring in shared memory.
struct Words {
    const u32* source;  // aligned; the words begin `shift` bits behind
    u32 shift;
    int last;  // place in `source` before the last one that holds a part of a word, or -1; that one is behind the ring
    u8* ring;
    u32 taken, loaded, low, high;  // taken, loaded: bytes; low, high: what the next piece is made of

    __device__ __forceinline__ void fetch(u32 lane) {
        const int i = (int)(loaded / 4 + lane);  // without a predicate: the compiler would wait for the value at once
        low = __ldg(source + min(i, last));
        high = __ldg(source + min(i + 1, last));
    }

    // So that there are words for ROUNDS rounds.
    __device__ __forceinline__ void refill(u32 lane) {
#pragma unroll 1
        while (loaded - taken < NEEDED) {
            __syncwarp();
            if ((int)(loaded / 4 + 32) > last) {  // the bytes behind the payload may be nobody's
                const int i = (int)(loaded / 4 + lane);
                const u32 rest = *(const u32*)(ring + RING);
                low = i > last ? rest : low;
                high = i >= last ? rest : high;
            }
            *(u32*)(ring + loaded % RING + 4 * lane) = __funnelshift_r(low, high, shift);
            loaded += PIECE;
            fetch(lane);
            __syncwarp();
        }
    }

    // One for each lane that needs one.
    __device__ __forceinline__ u32 take(bool needed, u32 before) {
        const u32 takers = __ballot_sync(ALL, needed);
        const u32 word = *(const u16*)(ring + (taken + 2 * __popc(takers & before)) % RING);
        taken += 2 * __popc(takers);
        return word;
    }
};

// The escapes of a chunk, and how many bytes of them were read.
struct Escapes {
    const u8* data;
    u32 size, at;
};

// Writes the symbols that escapes stand for; bit k of `escaped`: symbol i + k * lanes of this lane is one.
__device__ __noinline__ Status write_escapes(const Family& family, Choice choice, Escapes* escapes, u32 escaped, u32 i,
                                             u32 lanes, VALUE* out) {
    for (u32 k = 0; k < ROUNDS; k++, i += lanes) {
        u32 waiting = __ballot_sync(ALL, escaped >> k & 1);
        for (; waiting; waiting &= waiting - 1) {
            u64 code = 0;
            if (!read_varint(escapes->data, escapes->size, 28, &escapes->at, &code)) return BAD_ESCAPES;
            bool beyond = false, unfit = false;
            if ((threadIdx.x & 31) == (u32)__ffs(waiting) - 1) {
                const u32 table = choice.table_of(i);
                const i64 distance = (i64)(code >> 1), low = family.low[table];
                const i64 value = code & 1 ? low - 1 - distance : low + family.sizes[table] + distance;
                beyond = value != (int)value;
                unfit = value < LEAST_VALUE || value > MOST_VALUE;
                if (!unfit) out[i] = (VALUE)value;
            }
            if (__any_sync(ALL, beyond)) return BAD_ESCAPES;
            if (__any_sync(ALL, unfit)) return BAD_VALUE;
        }
    }
    return OK;
}

// Decodes symbols first .. last - 1, N rounds at a time: whole rounds if N > 1, and of 32 lanes if WIDE. Lanes from
// `lanes` on go along, and what they find is not used.
template <u32 N, bool WIDE>
__device__ __forceinline__ Status decode_rounds(const Family& family, const u8* image, Words& words, u32 word_bytes,
                                                Escapes& escapes, Choice& choice, u32 lanes, u32& x, VALUE* out,
                                                u32 first, u32 last) {
    const u32 lane = threadIdx.x & 31, before = (1u << lane) - 1;
    const u32 apart = WIDE ? MOST_LANES : lanes;
    const bool mine = WIDE || lane < lanes;
    const uint2* infos = (const uint2*)(image + family.info_at);
    const uint2 only = LOOKUP == 1 ? infos[0] : make_uint2(0, 0);
    u32 i = first + lane, ahead[N] = {};
    const u32 one = STEP == 0 && LOOKUP != 1 ? choice.table_of(0) : 0;
    const auto look_ahead = [&](u32 from) {  // a round's numbers are read a round before
#pragma unroll
        for (u32 k = 0; k < N; k++) {
            ahead[k] = __ldg(choice.indices + min(from + k * apart, last - 1));
        }
    };
    if (STEP && LOOKUP != 1 && first < last) look_ahead(i);
    VALUE* to = out + i;
    for (; i - lane < last; i += N * apart, to += N * apart) {
        const bool active = mine && (N > 1 || i < last);
        int values[N];
        u32 tables[N], rows = 0;
#pragma unroll
        for (u32 k = 0; k < N; k++) tables[k] = STEP && LOOKUP != 1 ? choice.table(ahead[k]) : one;
        if (STEP && LOOKUP != 1) look_ahead(i + N * apart);
#pragma unroll
        for (u32 k = 0; k < N; k++) {
            const uint2 info = LOOKUP == 2 ? infos[tables[k]] : only;
            const Entry entry = find(family, image, info, tables[k], x & ((1u << PRECISION) - 1));
            const u32 next = (entry.row & 0x7fff) * (x >> PRECISION) + entry.place;
            const bool empty = active && next < LOWER;
            const u32 word = words.take(empty, before);
            x = N > 1 || active ? next : x;
            x = empty ? x << 16 | word : x;
            values[k] = entry.value;
            rows |= entry.row;
        }
        words.refill(lane);
        if (active) {
#pragma unroll
            for (u32 k = 0; k < N; k++) to[k * apart] = (VALUE)values[k];
        }
        if (words.taken > word_bytes) return BAD_WORDS;
        if (__any_sync(ALL, active && rows & 1 << 15)) {
            u32 escaped = 0;
#pragma unroll
            for (u32 k = 0; k < N; k++) {  // the value of an escape is the first integer beyond the alphabet
                const int beyond = family.low[tables[k]] + family.sizes[tables[k]];
                escaped |= (u32)(active && values[k] == beyond) << k;
            }
            const Status found = write_escapes(family, choice, &escapes, escaped, i, apart, out);
            if (found != OK) return found;
        }
    }
    return OK;
}

__device__ __forceinline__ Status decode_chunk(const Family& family, const u8* image, u8* ring, const u8* payload,
                                               u32 size, Choice choice, VALUE* out, u32 n) {
    const u32 lane = threadIdx.x & 31;
    if (n == 0) return size == 0 ? OK : LEFT_OVER;

    if (size < 2 || payload[0] > 5) return BAD_HEAD;
    const u32 lanes = 1u << payload[0];
    u32 head = 1;
    u64 escape_bytes = 0;
    if (!read_varint(payload, size, 56, &head, &escape_bytes)) return BAD_HEAD;
    if (head + 4 * lanes > size) return BAD_HEAD;
    const u32 rest = size - head - 4 * lanes;  // of words and escapes
    if (escape_bytes > rest || (rest - escape_bytes) % 2) return BAD_HEAD;
    u32 x = LOWER;
    if (lane < lanes) {
        const u8* state = payload + head + 4 * lane;
        x = state[0] | (u32)state[1] << 8 | (u32)state[2] << 16 | (u32)state[3] << 24;
    }
    if (__any_sync(ALL, x < LOWER || x >= LOWER << 16)) return BAD_HEAD;

    const u8* first_word = payload + head + 4 * lanes;
    const u32 word_bytes = rest - (u32)escape_bytes, offset = (u32)((u64)first_word & 3);
    Escapes escapes = {first_word + word_bytes, (u32)escape_bytes, 0};
    const u8* const source = first_word - offset;
    const int last = (int)(offset + word_bytes + 3) / 4 - 1, at = 4 * last + (int)lane;
    __syncwarp();
    if (lane < 4) ring[RING + lane] = at >= 0 && at < (int)(offset + word_bytes) ? source[at] : 0;
    Words words = {(const u32*)source, 8 * offset, max(last - 1, -1), ring, 0, 0, 0, 0};
    words.fetch(lane);
    words.refill(lane);

    const u32 whole = n - n % (ROUNDS * lanes);
    Status found;
    if (lanes == MOST_LANES)
        found = decode_rounds<ROUNDS, true>(family, image, words, word_bytes, escapes, choice, lanes, x, out, 0, whole);
    else
        found = decode_rounds<ROUNDS, false>(family, image, words, word_bytes, escapes, choice, lanes, x, out, 0, whole);
    if (found == OK)
        found = decode_rounds<1, false>(family, image, words, word_bytes, escapes, choice, lanes, x, out, whole, n);
    if (__any_sync(ALL, choice.greatest >= choice.tables)) return BAD_TABLE;
    if (found != OK) return found;
    const bool used = words.taken == word_bytes && escapes.at == escapes.size;
    return __all_sync(ALL, used && (lane >= lanes || x == LOWER)) ? OK : LEFT_OVER;
}

// data: payload j has the bytes byte_bounds[j] .. byte_bounds[j + 1] - 1, and its symbols go to
// out[symbol_bounds[j] .. symbol_bounds[j + 1] - 1]. The table of its symbol i is
// indices[j * chunk_step + symbol_bounds[j] * first_step + i * STEP]. status: one a payload. Blocks are persistent.
// Shared memory: the image, then a ring for each warp and what is behind it.
extern "C" __global__ void __launch_bounds__(1024, 1)
decode_rans(const u8* data, i64 data_bytes, const i64* byte_bounds, const i64* symbol_bounds, i64 chunks,
            const INDEX* indices, i64 index_count, int chunk_step, int first_step, const Family family,
            VALUE* out, i64 out_length, u8* status) {
    extern __shared__ uint4 shared[];
    u8* const ring = (u8*)shared + family.image_bytes + threadIdx.x / 32 * RING_AND_REST;
    if (LOOKUP) {
        for (u32 i = threadIdx.x; i < family.image_bytes / 16; i += blockDim.x) shared[i] = __ldg(family.image + i);
        __syncthreads();
    }
    for (i64 chunk = threadIdx.x / 32 * gridDim.x + blockIdx.x; chunk < chunks; chunk += WARPS * gridDim.x) {
        const i64 begin = byte_bounds[chunk], end = byte_bounds[chunk + 1];
        const i64 first = symbol_bounds[chunk], last = symbol_bounds[chunk + 1];
        const i64 n = last - first, index = chunk * chunk_step + first * first_step;
        Status found = BAD_BOUNDS;
        if (0 <= begin && begin <= end && end <= data_bytes && 0 <= first && first <= last && last <= out_length
            && (n == 0 || index + (n - 1) * STEP < index_count) && n <= MOST && end - begin <= MOST) {
            const Choice choice = {indices + index, family.tables, 0};
            found = decode_chunk(family, (const u8*)shared, ring, data + begin, (u32)(end - begin), choice, out + first,
                                 (u32)n);
        }
        if (threadIdx.x % 32 == 0) status[chunk] = found;
    }
}
