# SPDX-License-Identifier: Apache-2.0
"""One dataclass: keyword arguments, checks, bytes, text."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import CorruptStreamError
from isthmus.options import DecodeOptions, Options, change, option, parse


@dataclass(frozen=True)
class Several(Options):
    quality: int = option(50, "Larger is better.", low=1, high=100, short="q", stored=True)
    size: int = option(0, "Any size.", low=0, stored=True)
    mode: Literal["fast", "small"] = option("fast", "How.", stored=True)
    grey: bool = option(False, "Leave colour out.", stored=True)
    minutes: float = option(5.0, "Time to take.", low=0.0)
    colour: str | None = option(None, "Background.")
    loud: ClassVar[int] = 3


@given(st.integers(1, 100), st.integers(0, 2**62), st.sampled_from(["fast", "small"]), st.booleans())
def test_bytes_are_the_stored_fields(quality: int, size: int, mode: Any, grey: bool) -> None:
    options = Several(quality, size, mode, grey, minutes=9, colour="red")
    again = Several.unpack(options.pack())
    assert again == Several(quality, size, mode, grey)
    assert options.describe() == {"quality": quality, "size": size, "mode": mode, "grey": grey}
    assert len(options.pack()) == 3 + len(Several(1, size).pack()) - 3


@given(st.binary(max_size=12))
def test_any_bytes(data: bytes) -> None:
    try:
        options = Several.unpack(data)
    except CorruptStreamError as error:
        assert "quality, size, mode, grey" in str(error)
    else:
        assert options.pack() == data


def test_values_are_checked_and_converted() -> None:
    import numpy as np

    assert Several(np.int64(7)).quality == 7 and type(Several(np.int64(7)).quality) is int  # type: ignore[arg-type]
    assert Several(np.uint8(7), size=np.int16(9)).describe()["size"] == 9  # type: ignore[arg-type]
    for number in (np.float32(2.5), np.float64(2.5), np.int64(2)):
        assert type(Several(minutes=number).minutes) is float  # type: ignore[arg-type]
    assert Several(minutes=3).minutes == 3.0 and type(Several(minutes=3).minutes) is float
    for name, value, words in [
        ("quality", 0, "quality 0, expected an integer from 1 to 100"),
        ("quality", True, "quality True"),
        ("quality", 5.0, "quality 5.0"),
        ("quality", np.float64(5), "quality "),
        ("quality", np.True_, "quality "),
        ("size", np.float32(5), "an integer of at least 0"),
        ("minutes", True, "a number of at least 0"),
        ("minutes", np.True_, "a number of at least 0"),
        ("size", -1, "an integer of at least 0"),
        ("mode", "slow", "'fast' or 'small'"),
        ("grey", 1, "True or False"),
        ("minutes", "5", "a number of at least 0"),
        ("minutes", float("nan"), "minutes nan"),
        ("colour", 3, "text"),
    ]:
        with pytest.raises(ValueError, match=f"encode: {words}" if words.startswith(name) else words):
            Several(**{name: value})


def test_numbers_to_choose_among() -> None:
    import numpy as np

    @dataclass(frozen=True)
    class Sizes(Options):
        side: Literal[1, 2, 4] = option(1, "Of a tile.", stored=True)

    assert type(Sizes(np.int64(4)).side) is int and Sizes.unpack(Sizes(4).pack()).side == 4  # type: ignore[arg-type]
    for wrong in (True, 1.0, 3, np.float32(2), "1"):
        with pytest.raises(ValueError, match="side .*, expected 1 or 2 or 4"):
            Sizes(wrong)  # type: ignore[arg-type]


def test_names_are_checked() -> None:
    assert Several.of({"quality": 3}) == Several(3)
    with pytest.raises(TypeError, match="encode: no option 'qality'.*knows quality, size"):
        Several.of({"qality": 3})
    with pytest.raises(TypeError, match="decode: no option 'a'.*it has none"):
        DecodeOptions.of({"a": 3})

    @dataclass(frozen=True)
    class Needs(Options):
        rate: int = field(metadata={})

    with pytest.raises(TypeError, match="rate must be given"):
        Needs.of({})


def test_text() -> None:
    for name, text, value in [
        ("quality", "7", 7), ("mode", "small", "small"), ("grey", "yes", True), ("grey", "false", False),
        ("minutes", "0.5", 0.5), ("colour", "None", None), ("colour", "red", "red"),
    ]:  # fmt: skip
        assert parse(Several, name, text) == value
    for name, text in (("quality", "x"), ("mode", "slow"), ("grey", "maybe"), ("minutes", "")):
        with pytest.raises(ValueError, match=f"{name}={text}: expected"):
            parse(Several, name, text)
    changed = change(Several(), ["quality=9", "mode=small", "colour=a=b"], "test")
    assert changed == Several(9, mode="small", colour="a=b")
    for setting, words in (("speed=3", "no setting 'speed'; known: quality"), ("quality=0", "1 to 100"), ("=", "''")):
        with pytest.raises(ValueError, match=f"test: .*{words}"):
            change(Several(), [setting], "test")
