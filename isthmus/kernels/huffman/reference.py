# SPDX-License-Identifier: Apache-2.0
"""Huffman streams and weight planes, the definition: plain Python over bits and lists. See docs/format-dfloat.md.

Package-merge: Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes" (J. ACM 1990).
"""

from collections.abc import Sequence

LIMIT, STREAMS, GROUP, PRIME = 12, 4, 64, (1 << 32) - 5


def code_lengths(counts: Sequence[int]) -> dict[int, int]:
    """The length of each symbol that occurs: of all codes of at most LIMIT bits one of least cost; 0 if it is alone.

    A coin is the symbols that it is made of. LIMIT times the coins are paired to packages and the symbols laid beside
    them again, lightest first and symbols before packages; the lightest 2 (n - 1) of the last round make the code: a
    symbol's length is how often it is among them.
    """
    symbols = sorted((count, symbol) for symbol, count in enumerate(counts) if count)
    leaves: list[tuple[int, list[int]]] = [(count, [symbol]) for count, symbol in symbols]
    packages: list[tuple[int, list[int]]] = []
    coins = leaves
    for _ in range(LIMIT):
        coins = sorted(leaves + packages, key=lambda coin: coin[0])
        pairs = zip(coins[::2], coins[1::2], strict=False)
        packages = [(a + b, x + y) for (a, x), (b, y) in pairs]
    taken = [symbol for _, made_of in coins[: 2 * len(leaves) - 2] for symbol in made_of]
    return {symbol: taken.count(symbol) for _, symbol in symbols}


def codes_of(lengths: dict[int, int]) -> dict[int, str]:
    """The canonical code of each symbol as a string of bits, the first bit first."""
    codes, code, before = {}, 0, 0
    for symbol in sorted(lengths, key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        codes[symbol] = f"{code:0{before}b}" if before else ""
        code += 1
    return codes


def streams_of(count: int) -> list[range]:
    """The symbols of each stream of a chunk."""
    quarter = -(-count // (STREAMS * GROUP)) * GROUP
    return [range(min(s * quarter, count), min((s + 1) * quarter, count)) for s in range(STREAMS)]


def encode_stream(symbols: Sequence[int], lengths: dict[int, int]) -> bytes:
    """The codes one behind the other, each byte filled from its least bit on."""
    codes = codes_of(lengths)
    bits = "".join(codes[symbol] for symbol in symbols)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[k : k + 8][::-1], 2) for k in range(0, len(bits), 8))


def decode_stream(data: bytes, count: int, lengths: dict[int, int]) -> list[int]:
    """The inverse of `encode_stream`. Raises ValueError for a stream that is too short or too long."""
    symbols_of = {code: symbol for symbol, code in codes_of(lengths).items()}
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    symbols, at = [], 0
    for _ in range(count):
        end = at
        while bits[at:end] not in symbols_of:
            end += 1
            if end > len(bits):
                raise ValueError("the stream ends inside a code")
        symbols.append(symbols_of[bits[at:end]])
        at = end
    if -(-at // 8) != len(data):
        raise ValueError("bytes are left over")
    return symbols


def check(body: bytes) -> tuple[int, int]:
    """A and B of a chunk's body."""
    padded = body + bytes(-len(body) % 4)
    words = [int.from_bytes(padded[k : k + 4], "little") for k in range(0, len(padded), 4)]
    return (len(body) + sum(words)) % PRIME, sum((i + 1) * word for i, word in enumerate(words)) % PRIME


def split(weight: int, width: int) -> list[int]:
    """The bytes of a weight in planes 0 to width - 1."""
    if width == 1:
        return [weight]
    top = weight >> 8 * (width - 2)  # sign, exponent and seven bits of mantissa
    planes = [top >> 7 & 0xFF, top >> 8 & 0x80 | top & 0x7F]
    return planes + [weight >> 8 & 0xFF, weight & 0xFF][: width - 2]
