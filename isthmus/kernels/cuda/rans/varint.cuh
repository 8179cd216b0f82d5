// SPDX-License-Identifier: Apache-2.0
// Varints as docs/format.md has them; integer types: see lookup.cuh.

// Reads the varint at data[*at] of data[0 .. length - 1] and moves *at behind it. False when it is cut, not minimal, or
// longer than the bits allow: its last byte may begin at bit `last_bits`.
__device__ bool read_varint(const u8* data, u32 length, int last_bits, u32* at, u64* value) {
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
