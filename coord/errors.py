"""The catalogue of errors: one class for each code of the line protocol.

A class's docstring is its help text; its ``code`` is for programs and is never
reused for anything else. Front ends own a mapping from code to their own words
and nothing more, and a test holds that each such mapping is total.

Errors of the store are *results*: ``apply`` returns them as values, the same
on every node, so they compare equal when code and text are equal.
"""

from __future__ import annotations

from typing import ClassVar


class CoordError(Exception):
    """It was not done; ``code`` is for programs, the text for a person."""

    code: ClassVar[str] = ""

    @property
    def text(self) -> str:
        """What a person reads after the code."""
        return str(self.args[0]) if self.args else ""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.args == self.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))


class BadRequest(CoordError):
    """The request does not fit the grammar of its verb; ``HELP verb`` shows it."""

    code = "BAD_REQUEST"


class UnknownVerb(CoordError):
    """There is no such verb; ``HELP`` lists those there are."""

    code = "UNKNOWN_VERB"


class BadPath(CoordError):
    """A path begins with ``/`` and has no empty part, no ``.``, ``..`` or NUL."""

    code = "BAD_PATH"


class BadGlob(CoordError):
    """A glob is a path in which ``?``, ``*`` and ``**`` stand for characters."""

    code = "BAD_GLOB"


class TooLarge(CoordError):
    """A line, a value or a path is longer than this node takes."""

    code = "TOO_LARGE"


class TagInUse(CoordError):
    """A request with this tag is still being answered on this connection."""

    code = "TAG_IN_USE"


class NoEntry(CoordError):
    """There is no such node."""

    code = "NOENT"


class Exists(CoordError):
    """There is such a node already."""

    code = "EXISTS"


class IsDirectory(CoordError):
    """The node is there because it has children; nobody gave it a value."""

    code = "ISDIR"


class NotEmpty(CoordError):
    """The node has children; ``DEL tree`` deletes them with it."""

    code = "NOTEMPTY"


class RevisionMismatch(CoordError):
    """The node has changed since the revision named by ``if=``."""

    code = "REV_MISMATCH"


class TooLate(CoordError):
    """That revision is older than the history which is kept."""

    code = "TOO_LATE"


class Locked(CoordError):
    """The lock is held by someone else."""

    code = "LOCKED"


class NotHeld(CoordError):
    """The lock is not held under that token."""

    code = "NOT_HELD"


class TimedOut(CoordError):
    """What was waited for did not happen in the time allowed."""

    code = "TIMEOUT"


class Aborted(CoordError):
    """The transaction was not done, because of the line named."""

    code = "ABORTED"


class NoSession(CoordError):
    """There is no such session."""

    code = "NO_SESSION"


class SessionExpired(CoordError):
    """The session was not kept alive and is over."""

    code = "SESSION_EXPIRED"


class Denied(CoordError):
    """You may not do that here."""

    code = "DENIED"


class ReadOnly(CoordError):
    """This node takes no writes."""

    code = "READONLY"


class Lagged(CoordError):
    """The watcher was too slow to be kept: watch again from the revision named."""

    code = "LAGGED"


class Unavailable(CoordError):
    """Not done, and never will be: no quorum. Try again."""

    code = "UNAVAILABLE"


class Unknown(CoordError):
    """The fate of the write could not be learned: it may or may not be done."""

    code = "UNKNOWN"


class Overloaded(CoordError):
    """Not done, and never will be: too much is waiting already. Try again."""

    code = "OVERLOADED"


CATALOGUE: dict[str, type[CoordError]] = {kind.code: kind for kind in CoordError.__subclasses__()}
