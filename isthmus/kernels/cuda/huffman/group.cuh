// SPDX-License-Identifier: Apache-2.0
// How a lane decodes its group of 64 symbols, from words in global or in shared memory.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

const u32 GROUP = 64;
const u32 ENTRIES = 4096;
const u32 LONGEST = 2 + GROUP * 12;  // bits of a group, and the two before that a lane begins with
const u32 AHEAD = 28;            // words that a lane may read, from the one that its first symbol begins in

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

struct GlobalWords {
    const u32* at;
    __device__ __forceinline__ u32 next() { return __ldg(at++); }
    __device__ __forceinline__ void next_if(bool condition, u32* value) {
        asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; @p ld.global.nc.u32 %0, [%2]; }"
                     : "+r"(*value)
                     : "r"((u32)condition), "l"(at));
        at = condition ? at + 1 : at;
    }
};

struct SharedWords {
    u32 at;
    __device__ __forceinline__ u32 next() {
        at += 4;
        return load_shared(at - 4);
    }
    __device__ __forceinline__ void next_if(bool condition, u32* value) {
        asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; @p ld.shared.u32 %0, [%2]; }"
                     : "+r"(*value)
                     : "r"((u32)condition), "r"(at));
        at = condition ? at + 4 : at;
    }
};

// Writes 64 symbols, and up to 4 that follow, to the row at `row` in shared memory; the first begins behind bit `place` + 1,
// 1 to 32, of the first word. It reads AHEAD words at most: 68 symbols of 12 bits take 26, and two more are loaded.
template <class Words>
__device__ __forceinline__ void decode_group(u32 table, Words words, u32 place, u32 row) {
    u32 low = words.next(), high = words.next(), next = words.next();
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
        words.next_if(used, &next);
        place = used ? place - 32 : place;
    }
}
