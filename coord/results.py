"""What comes back from a command; an error comes back as a ``CoordError``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from coord.errors import CoordError


class Written(msgspec.Struct, frozen=True, gc=False):
    """A write was done and made revision ``rev``; ``path`` where it was asked to name one."""

    rev: int
    path: str | None = None


class Value(msgspec.Struct, frozen=True, gc=False):
    """A node's value and the revision that last changed it."""

    rev: int
    value: bytes


class Point(msgspec.Struct, frozen=True, gc=False):
    """A revision and nothing else: the answer to ``REV``, ``SYNC``, ``UNWATCH``."""

    rev: int


class Facts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one node beside its value.

    ``rev`` last changed the value, ``created`` made the node, ``child_rev`` last
    made or deleted a child; ``version`` counts the values since it was made,
    ``child_version`` the children made and deleted. Times are milliseconds since
    1970, as stamped by the leader. ``size_bytes`` is ``None`` where nobody gave it
    a value. ``owner`` is a session, ``ttl_seconds`` a lifetime; neither is used yet.
    """

    path: str
    rev: int
    created: int
    version: int
    child_rev: int
    child_version: int
    children: int
    size_bytes: int | None
    created_ms: int
    modified_ms: int
    owner: str | None = None
    ttl_seconds: float | None = None


class Row(msgspec.Struct, frozen=True, gc=False):
    """One node of a walk: its path, the revision that last changed it, its value."""

    path: str
    rev: int
    value: bytes


class Rows(msgspec.Struct, frozen=True):
    """Rows of one consistent picture at ``rev``, made as they are taken.

    Items are ``Row`` for a walk, ``str`` (a child's name) for a list, and now and then
    ``None``: nothing came of some work, a moment to let others have their turn. The iterator
    holds the history that it needs until it ends or is closed, so a front end that
    gives up must call ``rows.close()``. It raises `TooLate` where it was read so slowly
    that what it needs is gone.
    """

    rev: int
    rows: Iterator[Row | None] | Iterator[str | None]

    def close(self) -> None:
        """Let go of the picture; safe to call more than once."""
        close = getattr(self.rows, "close", None)
        if close is not None:
            close()


class Items(msgspec.Struct, frozen=True):
    """A short table that is whole at once: ``STATUS``, ``MEMBERS``, ``HELP``."""

    rev: int
    rows: tuple[str, ...]


Result: TypeAlias = Written | Value | Point | Facts | Rows | Items | CoordError
