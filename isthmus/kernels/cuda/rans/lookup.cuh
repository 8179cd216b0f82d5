// SPDX-License-Identifier: Apache-2.0
// How a lane finds the entry of a slot. LOOKUP, PRECISION and WIDTH: see rans/decode.cu.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef signed char i8;
typedef short i16;
typedef int i32;

// A family as `device_tables.py` lays it out. image: for shared memory, image_bytes of it, a multiple of 16: for each
// 2^WIDTH slots the entry of the first of them, a byte, counted from the table's first; from info_at on for each table
// its first row and low less that; from rows_at on a row for each entry, frequency | is escape << 15 | cumulative
// frequency << 16, and behind each table 2^WIDTH - 1 rows that no slot reaches. packed, if there is no image: for each
// slot value << 32 | place within the entry << 16 | is escape << 15 | frequency.
struct Family {
    const uint4* image;
    const u64* packed;
    const int* low;
    const int* sizes;
    u32 image_bytes, info_at, rows_at, tables;
};

struct Entry {
    u32 row;  // frequency | is escape << 15
    u32 place;
    int value;
};

// table: its number; info: what the image says of it.
__device__ __forceinline__ Entry find(const Family& family, const u8* image, uint2 info, u32 table, u32 slot) {
#if LOOKUP == 0
    const u64 row = __ldg(family.packed + ((table << PRECISION) + slot));
    return {(u32)row, (u32)row >> 16, (int)(row >> 32)};
#else
    const u32 place = slot >> WIDTH;
    const u32* rows = (const u32*)(image + family.rows_at);
    u32 at = info.x + image[LOOKUP == 2 ? (table << (PRECISION - WIDTH)) + place : place];
#pragma unroll
    for (u32 step = 1u << WIDTH >> 1; step; step /= 2) {
        if (((const u16*)rows)[2 * (at + step) + 1] <= slot) at += step;
    }
    return {rows[at], slot - (rows[at] >> 16), (int)(info.y + at)};
#endif
}
