# SPDX-License-Identifier: Apache-2.0
"""Every error that a caller of isthmus can meet when data from outside is at fault.

Wrong arguments raise plain `ValueError` or `TypeError`; decoding bytes raises only children of `IsthmusError`.
A message says what was read, what was expected and what to do.
"""


class IsthmusError(Exception):
    """Parent of all errors of isthmus."""


class CorruptStreamError(IsthmusError):
    """Bytes that are not a whole, valid isthmus stream: truncated, damaged, of another kind, or over a limit."""


class UnknownCodecError(IsthmusError):
    """A codec name or codec id that this version does not know."""


class WeightsMismatchError(IsthmusError):
    """A stream made with entropy tables or synthesis weights that are not the ones at hand."""


class MissingExtraError(IsthmusError):
    """A feature needs a package of an optional extra that is not installed."""


class UnreadableFileError(IsthmusError):
    """A media file that is not there, not of its kind, damaged, or of a sample format that would lose data."""


class ForeignFileError(UnreadableFileError):
    """A file that does not even begin as one of its kind does."""


class UnwritableFileError(IsthmusError):
    """A file that cannot be made: missing folder, no permission, no space left. Nothing is left behind."""


class UnknownTensorError(IsthmusError, KeyError):
    """A name of a tensor that a file of weights does not have."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return Exception.__str__(self)


class RemoteError(IsthmusError):
    """A server that stays away or refuses; `status`: of HTTP, None where no answer came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def first_line(error: BaseException) -> str:
    """What an error of somebody else says, in one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
