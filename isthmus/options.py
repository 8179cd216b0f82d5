# SPDX-License-Identifier: Apache-2.0
"""Choices that a caller may make, as a frozen dataclass whose fields are everything at once.

    @dataclass(frozen=True)
    class EncodeOptions(Options):
        quality: int = option(50, "1 to 100, larger is better.", low=1, high=100, short="q", stored=True)

gives the keyword argument `quality=50` with its check, the flag `--quality` or `-q` of the command with its help, the
setting "quality=50" of `change`, and the option bytes of a track header, by `pack` and `unpack`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from numbers import Real
from operator import index
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint

Self = TypeVar("Self", bound="Options")
Config = TypeVar("Config")


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    short: str | None = None,
    stored: bool = False,
    flag: bool = True,
    name: str | None = None,
    seconds: bool = False,
) -> Any:
    """A field of `Options`.

    low, high: bounds of a number, both inside. short: the letter of a short flag. stored: kept in the header; such a
    field is a bool, an int of at least 0, or a Literal. flag: whether the command has it;
    name: what it is called there, if not as the field. seconds: a time, which the command also takes as "12s".
    """
    about = {
        "help": help, "low": low, "high": high, "short": short, "stored": stored, "flag": flag, "name": name,
        "seconds": seconds,
    }  # fmt: skip
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Kind:
    """What a field takes, read from its annotation: `base` bool, int, float or str, one of `choices`, perhaps None."""

    base: type
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def describe(self, bounds: Mapping[str, Any] | None = None) -> str:
        """In words, as "an integer from 1 to 100"."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        name = {bool: "True or False", int: "an integer", float: "a number", str: "text"}.get(self.base, "a value")
        low, high = (bounds or {}).get("low"), (bounds or {}).get("high")
        if (bounds or {}).get("seconds"):
            return f"seconds from {low:g} to {high:g}"
        if low is not None and high is not None:
            return f"{name} from {low} to {high}"
        return name + (f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else "")


def kinds_of(owner: type) -> dict[str, Kind]:
    """The `Kind` of each field of a dataclass. Raises TypeError for an annotation that no option has."""
    if owner not in _kinds:
        hints = get_type_hints(owner)
        _kinds[owner] = {n: _kind(hint) for n, hint in hints.items() if get_origin(hint) is not ClassVar}
    return _kinds[owner]


_kinds: dict[type, dict[str, Kind]] = {}


def _kind(hint: Any) -> Kind:
    if get_origin(hint) in (Union, UnionType):
        inner = [_kind(part) for part in get_args(hint) if part is not NoneType]
        if len(inner) == 1:
            return replace(inner[0], optional=True)
    elif get_origin(hint) is Literal:
        return Kind(type(get_args(hint)[0]), get_args(hint))
    elif isinstance(hint, type):
        return Kind(hint)
    raise TypeError(f"options: {hint} is none of bool, int, float, str, Literal, or such or None")


@dataclass(frozen=True)
class Options:
    """Parent of all options. Making one checks every field: ValueError names the field, what it is, what is expected.

    `what` begins the messages of errors.
    """

    what: ClassVar[str] = "encode"

    def __post_init__(self) -> None:
        for f in fields(self):
            value, kind = getattr(self, f.name), kinds_of(type(self))[f.name]
            object.__setattr__(self, f.name, self._checked(f, kind, value))

    def _checked(self, f: Field[Any], kind: Kind, value: Any) -> Any:
        if value is None and kind.optional:
            return None
        low, high = f.metadata.get("low"), f.metadata.get("high")
        try:
            if kind.base is int:
                value = value if isinstance(value, bool) else index(value)  # numpy's integers too, no floats
            elif kind.base is float and isinstance(value, Real) and not isinstance(value, bool):
                value = float(value)  # numpy's floats are Real; its bools are not
            right = type(value) is kind.base and (not kind.choices or value in kind.choices)
            right = right and (low is None or value >= low) and (high is None or value <= high)
        except (TypeError, ValueError):  # numpy arrays have no truth
            right = False
        if not right:
            raise ValueError(f"{self.what}: {f.name} {value!r}, expected {kind.describe(f.metadata)}")
        return value

    @classmethod
    def of(cls: type[Self], given: Mapping[str, Any]) -> Self:
        """From keyword arguments. Raises TypeError for a name that there is not, ValueError for a value."""
        known = [f.name for f in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            rest = f"it knows {', '.join(known)}" if known else "it has none"
            raise TypeError(f"{cls.what}: no option {unknown[0]!r} for this codec; {rest}")
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in given]
        if missing:
            raise TypeError(f"{cls.what}: {missing[0]} must be given")
        return cls(**given)

    @classmethod
    def has(cls, name: str) -> bool:
        """Whether there is an option of this name."""
        return name in {f.name for f in fields(cls)}

    @classmethod
    def _stored(cls) -> list[Field[Any]]:
        return [f for f in fields(cls) if f.metadata.get("stored")]

    def pack(self) -> bytes:
        """The stored fields in order, each a varint: the number itself, or the place among the choices."""
        kinds = kinds_of(type(self))
        values = [(kinds[f.name].choices, getattr(self, f.name)) for f in self._stored()]
        return b"".join(pack_varint(choices.index(v) if choices else int(v)) for choices, v in values)

    @classmethod
    def unpack(cls: type[Self], data: BytesLike) -> Self:
        """The inverse of `pack`; fields that are not stored have their defaults. Raises CorruptStreamError."""
        kinds, found, offset = kinds_of(cls), {}, 0
        try:
            for f in cls._stored():
                number, offset = unpack_varint(data, offset)
                kind = kinds[f.name]
                if (kind.choices or kind.base is bool) and number >= (len(kind.choices) or 2):
                    raise ValueError(f"{f.name} {number}, expected less than {len(kind.choices) or 2}")
                found[f.name] = kind.choices[number] if kind.choices else kind.base(number)
            if offset != len(data):
                raise ValueError(f"{len(data)} bytes, expected {offset}")
            return cls(**found)
        except (ValueError, CorruptStreamError) as error:
            names = ", ".join(f.name for f in cls._stored()) or "nothing"
            raise CorruptStreamError(
                f"decode: the option bytes {bytes(data[:16]).hex()!r} should hold {names}: "
                f"{str(error).removeprefix(f'{cls.what}: ')}; the stream is damaged, fetch it again"
            ) from None

    def describe(self) -> dict[str, Any]:
        """The stored fields as JSON values."""
        return {f.name: getattr(self, f.name) for f in self._stored()}


@dataclass(frozen=True)
class DecodeOptions(Options):
    """Parent of the options of decoding; none of them is stored."""

    what: ClassVar[str] = "decode"


def parse(owner: type, name: str, text: str) -> Any:
    """The value of field `name` of a dataclass from text. Raises ValueError that says what is expected."""
    kind = kinds_of(owner)[name]
    if kind.optional and text.lower() == "none":
        return None
    if kind.base is bool and not kind.choices:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(f"{name}={text}: expected true or false")
        return text.lower() in ("true", "1", "yes")
    try:
        value = kind.base(text)
    except ValueError as error:
        raise ValueError(f"{name}={text}: expected {kind.describe()}") from error
    if kind.choices and value not in kind.choices:
        raise ValueError(f"{name}={text}: expected {kind.describe()}")
    return value


def change(config: Config, settings: Iterable[str], what: str) -> Config:
    """A dataclass with settings "name=value" of its own fields, or of the fields of dataclasses within it.

    what: begins the messages. Raises ValueError for a name that there is not, or a value of another type.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        inner = [f.name for f in fields(config) if is_dataclass(getattr(config, f.name))]  # type: ignore[arg-type]
        owners = [config, *(getattr(config, i) for i in inner)]
        names = [[f.name for f in fields(owner) if f.name not in inner] for owner in owners]
        place = next((i for i, known in enumerate(names) if re.fullmatch(r"\w+", name) and name in known), None)
        if place is None:
            raise ValueError(f"{what}: no setting {name!r}; known: {', '.join(n for known in names for n in known)}")
        try:
            changed = replace(owners[place], **{name: parse(type(owners[place]), name, text)})
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
        config = changed if place == 0 else replace(config, **{inner[place - 1]: changed})  # type: ignore[type-var]
    return config
