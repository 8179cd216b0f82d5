// SPDX-License-Identifier: Apache-2.0
// Decodes `context.2` payloads (docs/format-context.md), GROUP threads each: one position after another.
//
// The threads share the taps of a position; all else each of them does alike, so that a group takes the same branches.
// What the next position reads of the model is loaded before this one waits for its table.
// Values and residuals of the last frames lie in a ring in shared memory, as do the states of the stream's lanes; the
// first thread of a group writes there. Nothing is read or written outside its place, whatever a payload says.
//
// Defined from outside: GROUP, 1 to 32; PRECISION of the tables; LOOKUP, 0 (rans/lookup.cuh).

#include "rans/lookup.cuh"
#include "rans/varint.cuh"

// As in isthmus/kernels/cuda/rans/status.py.
enum Status : u8 { OK, BAD_HEAD, BAD_WORDS, BAD_ESCAPES, LEFT_OVER, BAD_TABLE, BAD_BOUNDS, BAD_VALUE };

const u32 LOWER = 1u << 15;
const u32 MOST_LANES = 32, ROWS = 100;
const int MEAN_LIMIT = 1023, SCALE_LIMIT = 255, OFFSET_REACH = 6, SCALES = 64, PHASES = 4;
const int LOWEST_CODE = 127 << 4;  // the exponent and first mantissa bits of 1.0
const i64 FAR = 1 << 26;           // beyond 16 bits, whatever mean is added
const i64 MOST = 1 << 30;          // bytes or frames of a payload
const u32 AHEAD = 2;               // taps of each thread, of a mean and of a scale, that are loaded a position before

// As `causal.py` lays it out. Of each plane, taps of the mean and then of the scale; each part is filled up to a
// multiple of GROUP with taps of weight 0.
struct Model {
    const int* taps;     // how many positions back << 16 | weight, which has 16 bits
    const int4* planes;  // of each: where the taps of its mean begin, those of its scale, and the next plane's
    const int4* rows;    // [ROWS, channels]: mean.bias, scale.bias, scale.offset, mean.shift
    const int* levels;
    u32 channels, ring;  // ring: positions that it holds, whole frames, so many that no tap looks further back
};

// payload: data[begin .. begin + size - 1]; position (c, t) goes to out[first + c stride + t].
struct Unit {
    i64 begin, size, frames, first, stride, row;
};

struct Stream {
    const u8* words;
    const u8* escapes;
    u32* states;
    u32 word_bytes, escape_bytes, taken, escape_at, lanes, number;  // number: of symbols that were decoded

    __device__ __forceinline__ u32 state() const { return states[number & (lanes - 1)]; }
    __device__ __forceinline__ u32 word() const {  // read long before it is known whether it is needed
        return taken < word_bytes ? __ldg(words + taken) | (u32)__ldg(words + taken + 1) << 8 : 0;
    }
};

// The group's part of its warp.
__device__ __forceinline__ u32 group_mask() {
    return GROUP == 32 ? 0xffffffffu : ((1u << (GROUP & 31)) - 1) << (threadIdx.x & 31 & ~(GROUP - 1));
}

__device__ __forceinline__ int sum_of_group(int value) {
#if GROUP == 32
    return __reduce_add_sync(0xffffffffu, value);
#else
#pragma unroll
    for (u32 apart = GROUP / 2; apart; apart /= 2) value += __shfl_xor_sync(group_mask(), value, apart);
    return value;
#endif
}

// A thread's share of the taps of one sum.
struct Taps {
    int ahead[AHEAD], first, last;

    __device__ __forceinline__ void load(const Model& model, int begin, int end) {
        first = begin + (int)(threadIdx.x % GROUP), last = end;
#pragma unroll
        for (u32 k = 0; k < AHEAD; k++) {
            const int j = first + (int)k * GROUP;
            ahead[k] = j < last ? __ldg(model.taps + j) : 0;
        }
    }
    template <typename T>
    __device__ __forceinline__ int sum(const Model& model, const T* ring, u32 at) const {
        int total = 0;
        const auto add = [&](int tap) {
            const int from = (int)at - (tap >> 16);
            total += (i16)tap * ring[from < 0 ? from + (int)model.ring : from];
        };
#pragma unroll
        for (u32 k = 0; k < AHEAD; k++) add(ahead[k]);
#pragma unroll 2
        for (int j = first + (int)AHEAD * GROUP; j < last; j += GROUP) add(__ldg(model.taps + j));
        return total;
    }
};

// end: the first integer beyond the table's alphabet. Symbols beyond +-FAR stand for +-FAR.
__device__ __noinline__ bool read_escape(const Family& family, u32 table, int end, Stream* stream, int* symbol) {
    u64 code = 0;
    if (!read_varint(stream->escapes, stream->escape_bytes, 28, &stream->escape_at, &code)) return false;
    const i64 distance = (i64)(code >> 1), size = family.sizes[table];
    const i64 value = code & 1 ? (i64)end - size - 1 - distance : (i64)end + distance;
    *symbol = (int)max(-FAR, min(FAR, value));
    return value == (int)value;
}

// The next symbol, given the state and the word that it may need. Between reading and writing states and ring there
// is a `__syncwarp` of the group, so that no thread reads what another has written too early.
__device__ __forceinline__ bool pop(const Family& family, Stream& stream, u32 table, u32 x, u32 word, int* symbol) {
    const Entry entry = find(family, nullptr, make_uint2(0, 0), table, x & ((1u << PRECISION) - 1));
    u32 next = (entry.row & 0x7fff) * (x >> PRECISION) + entry.place;
    if (next < LOWER) {
        next = next << 16 | word;
        stream.taken += 2;
    }
    __syncwarp(group_mask());
    if (threadIdx.x % GROUP == 0) stream.states[stream.number & (stream.lanes - 1)] = next;
    stream.number++;
    *symbol = entry.value;
    return !(entry.row & 1 << 15) || read_escape(family, table, entry.value, &stream, symbol);
}

__device__ __forceinline__ Status open_stream(const u8* payload, u32 size, u32* states, Stream* stream) {
    if (size < 2 || payload[0] > 5) return BAD_HEAD;
    const u32 lanes = 1u << payload[0];
    u32 head = 1;
    u64 escape_bytes = 0;
    if (!read_varint(payload, size, 56, &head, &escape_bytes) || head + 4 * lanes > size) return BAD_HEAD;
    const u32 rest = size - head - 4 * lanes;  // of words and escapes
    if (escape_bytes > rest || (rest - escape_bytes) % 2) return BAD_HEAD;
    bool inside = true;
    for (u32 k = 0; k < lanes; k++) {
        const u8* state = payload + head + 4 * k;
        const u32 x = state[0] | (u32)state[1] << 8 | (u32)state[2] << 16 | (u32)state[3] << 24;
        inside &= x >= LOWER && x < LOWER << 16;
        if (threadIdx.x % GROUP == 0) states[k] = x;
    }
    const u8* const words = payload + head + 4 * lanes;
    const u32 word_bytes = rest - (u32)escape_bytes;
    *stream = {words, words + word_bytes, states, word_bytes, (u32)escape_bytes, 0, 0, lanes, 0};
    return inside ? OK : BAD_HEAD;
}

// Image offsets of all planes, kept beside the ring.
__device__ __forceinline__ Status read_offsets(const Family& family, Stream& stream, u32 channels, i8* offsets) {
    for (u32 c = 0; c < channels; c++) {
        __syncwarp(group_mask());
        int offset;
        if (!pop(family, stream, family.tables - 1, stream.state(), stream.word(), &offset)) return BAD_ESCAPES;
        if (offset < -OFFSET_REACH || offset > OFFSET_REACH) return BAD_VALUE;
        if (threadIdx.x % GROUP == 0) offsets[c] = (i8)offset;
    }
    return stream.taken > stream.word_bytes ? BAD_WORDS : OK;
}

__device__ __forceinline__ Status decode_frames(const Model& model, const Family& family, Stream& stream,
                                                const Unit& unit, i16* values, u8* residuals, const i8* offsets,
                                                i16* out) {
    const bool writes = threadIdx.x % GROUP == 0;
    const int4* const rows = model.rows + unit.row * model.channels;
    u32 at = 0, after = 0;  // after: the plane that is loaded next, two positions on
    int4 plane, next_row;   // of the next position
    const auto look_ahead = [&]() {
        plane = __ldg(model.planes + after), next_row = __ldg(rows + after);
        after = after + 1 == model.channels ? 0 : after + 1;
    };
    Taps mean_taps, scale_taps, next_mean, next_scale;
    look_ahead();
    next_mean.load(model, plane.x, plane.y), next_scale.load(model, plane.y, plane.z);
    int4 row = next_row;
    look_ahead();
    for (i64 t = 0; t < unit.frames; t++) {
        for (u32 c = 0; c < model.channels; c++) {
            mean_taps = next_mean, scale_taps = next_scale;
            next_mean.load(model, plane.x, plane.y), next_scale.load(model, plane.y, plane.z);
            const int4 bias = row;
            row = next_row;
            look_ahead();
            __syncwarp(group_mask());  // what was written for the position before
            const u32 x = stream.state(), word = stream.word();
            const int mean = sum_of_group(mean_taps.sum(model, values, at)) + bias.x;
            const int scale = max(1, sum_of_group(scale_taps.sum(model, residuals, at)) + bias.y);
            const int nearest = (mean + ((1 << bias.w) >> 1)) >> bias.w, fraction = mean - nearest * (1 << bias.w);
            const int phase = min(abs(fraction) << 3 >> bias.w, PHASES - 1);
            // The exponent and the first four mantissa bits of a float32 integer are its logarithm's place.
            const int code = (__float_as_int((float)scale) >> 19) - LOWEST_CODE;
            const int k = ((__ldg(model.levels + code) + bias.z) >> 4) + offsets[c];
            const u32 table = (u32)(max(0, min(k, SCALES - 1)) * PHASES + phase);
            int d;
            if (!pop(family, stream, table, x, word, &d)) return BAD_ESCAPES;
            const int residual = fraction < 0 ? -d : d, q = nearest + residual;
            if (q != (i16)q) return BAD_VALUE;
            if (writes) {
                out[unit.first + c * unit.stride + t] = (i16)q;
                values[at] = (i16)max(-MEAN_LIMIT, min(q, MEAN_LIMIT));
                residuals[at] = (u8)min(abs(residual), SCALE_LIMIT);
            }
            at = at + 1 == model.ring ? 0 : at + 1;
        }
        if (stream.taken > stream.word_bytes) return BAD_WORDS;
    }
    return OK;
}

__device__ __forceinline__ Status close_stream(const Stream& stream) {
    __syncwarp(group_mask());
    bool used = stream.taken == stream.word_bytes && stream.escape_at == stream.escape_bytes;
    for (u32 k = 0; k < stream.lanes; k++) used &= stream.states[k] == LOWER;
    return used ? OK : LEFT_OVER;
}

// offsets: image offsets [count, channels], of units that are whole; status: one a unit. room: bytes of shared memory
// of a group: states, ring of values, ring of residuals, image offsets.
extern "C" __global__ void __launch_bounds__(32)
decode_causal(const u8* data, i64 data_bytes, const Unit* units, i64 count, const Model model, const Family family,
              i16* out, i64 out_length, i8* offsets, u8* status, i64 room) {
    extern __shared__ uint4 shared[];
    const i64 number = (i64)blockIdx.x * (blockDim.x / GROUP) + threadIdx.x / GROUP;
    if (number >= count) return;
    u32* const states = (u32*)((u8*)shared + threadIdx.x / GROUP * room);
    i16* const values = (i16*)(states + MOST_LANES);
    u8* const residuals = (u8*)(values + model.ring);
    i8* const own_offsets = (i8*)(residuals + model.ring);
    for (u32 i = threadIdx.x % GROUP; i < model.ring; i += GROUP) values[i] = 0, residuals[i] = 0;

    const Unit unit = units[number];
    Status found = BAD_BOUNDS;
    const i64 least = (model.channels - 1) * unit.stride + unit.frames;  // of integers from the first on
    if (0 <= unit.begin && 0 <= unit.size && unit.size <= MOST && unit.begin <= data_bytes - unit.size
        && 0 <= unit.frames && unit.frames <= unit.stride && unit.stride <= MOST && 0 <= unit.first
        && (unit.frames == 0 || unit.first <= out_length - least) && 0 <= unit.row && unit.row < ROWS) {
        Stream stream;
        found = open_stream(data + unit.begin, (u32)unit.size, states, &stream);
        if (found == OK) found = read_offsets(family, stream, model.channels, own_offsets);
        if (found == OK)
            found = decode_frames(model, family, stream, unit, values, residuals, own_offsets, out);
        if (found == OK) found = close_stream(stream);
    }
    __syncwarp(group_mask());
    if (found == OK)
        for (u32 c = threadIdx.x % GROUP; c < model.channels; c += GROUP)
            offsets[number * model.channels + c] = own_offsets[c];
    if (threadIdx.x % GROUP == 0) status[number] = found;
}
