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


class Granted(msgspec.Struct, frozen=True, gc=False):
    """A lock is held now, under ``token``: the revision that gave it."""

    token: int


class Queued(msgspec.Struct, frozen=True, gc=False):
    """A lock is not held yet: the session has place ``number`` in its queue.

    Numbers only grow, over all locks, so that one names its place for ever.
    """

    number: int


class Opened(msgspec.Struct, frozen=True, gc=False):
    """There is this session, and it outlives its silence by ``timeout_ms``."""

    session: str
    timeout_ms: int


class Value(msgspec.Struct, frozen=True, gc=False):
    """A node's value and the revision that last changed it."""

    rev: int
    value: bytes


class Committed(msgspec.Struct, frozen=True):
    """A transaction was done and made revision ``rev``; one that changed nothing made none, and
    ``rev`` is that of what it saw.

    ``rows`` are, in the order of its lines, what each `coord.commands.Look` saw (a `Value`, or
    the error), and the path of each node made by a sequential `coord.commands.Add`.
    """

    rev: int
    rows: tuple[Value | CoordError | str, ...] = ()


class Point(msgspec.Struct, frozen=True, gc=False):
    """A revision and nothing else: the answer to ``REV``, ``SYNC``, ``UNWATCH``."""

    rev: int


class Facts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one node beside its value.

    ``rev`` last changed the value, ``created`` made the node, ``child_rev`` last
    made or deleted a child; ``version`` counts the values since it was made,
    ``child_version`` the children made and deleted. Times are milliseconds since
    1970, as stamped by the leader. ``size_bytes`` is ``None`` where nobody gave it
    a value. ``owner`` is the session that the node goes with, ``ttl_seconds`` how long it lives
    after a `coord.commands.Set`. Of a lock's node: ``holders`` are sessions (one, unless
    they share it, and of very many the newest; none while a lock-delay runs), ``token`` the newest
    one given, ``waiting`` the places in the queue.
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
    holders: tuple[str, ...] = ()
    shared: bool = False
    token: int | None = None
    waiting: int = 0


class Row(msgspec.Struct, frozen=True, gc=False):
    """One node of a walk: its path, the revision that last changed it, its value.

    ``ttl_ms`` is how long it lives after a `coord.commands.Set`, for those who put the rows of
    a lasting walk together; in the walk itself an `Aside` before the row tells it.
    """

    path: str
    rev: int
    value: bytes
    ttl_ms: int = 0


class Aside(msgspec.Struct, frozen=True, gc=False):
    """What a lasting walk tells of a node beside its row, and before it.

    ``what`` is ``ephemeral`` or ``lock`` of one that goes with a session and has no row; a lock's
    node that held a value before it was locked has one, with that value. Else it is
    ``ttl=S``, the lifetime of the node whose row follows.
    """

    path: str
    what: str


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One change of one node: a row of ``LOG``, and the answer to ``BLAME``.

    ``verb`` is the protocol's for what was asked; ``EXPIRE`` is the end of a session that was
    not kept or of a lifetime, ``END`` that of a session that was ended, ``GRANT`` a lock that
    went to the next in line. ``time_ms`` since 1970, as stamped by the leader.
    """

    rev: int
    path: str
    verb: str
    author: str
    time_ms: int


class Rows(msgspec.Struct, frozen=True):
    """Rows of one consistent picture at ``rev``, made as they are taken.

    Items are ``Row`` for a walk (and ``Aside`` for a lasting one), ``str`` (a child's name) for a
    list, ``Entry`` for a log, and for a difference ``Row`` where a node changed and ``str`` (its
    path) where it did not; now and then ``None``: nothing came of some work, a moment to let
    others have their turn. The iterator holds the history that it needs until it ends or is
    closed, so a front end that gives up must call ``rows.close()``. It raises `TooLate` where it
    was read so slowly
    that what it needs is gone.
    """

    rev: int
    rows: Iterator[Row | Aside | Entry | str | None]

    def close(self) -> None:
        """Let go of the picture; safe to call more than once."""
        close = getattr(self.rows, "close", None)
        if close is not None:
            close()


class Items(msgspec.Struct, frozen=True):
    """A short table that is whole at once: ``STATUS``, ``MEMBERS``, ``HELP``."""

    rev: int
    rows: tuple[str, ...]


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One open session, for people: who opened it and when, and what it owns.

    ``locks`` and ``waits`` are paths.
    """

    session: str
    author: str
    opened_ms: int
    timeout_ms: int
    nodes: int
    locks: tuple[str, ...]
    waits: tuple[str, ...]


class LockPlace(msgspec.Struct, frozen=True, kw_only=True):
    """One holder of a lock, or one place in its queue.

    ``token`` is ``None`` in the queue. ``is_lost`` says of a holder that its session is over
    and only the lock-delay keeps the lock from others.
    """

    session: str
    author: str
    since_ms: int
    shared: bool
    token: int | None = None
    is_lost: bool = False


class LockRow(msgspec.Struct, frozen=True):
    """One lock, for people: its holders, and its queue in order."""

    path: str
    holders: tuple[LockPlace, ...]
    queue: tuple[LockPlace, ...]


Result: TypeAlias = (
    Written | Granted | Queued | Opened | Committed
    | Value | Point | Facts | Entry | Rows | Items | CoordError
)  # fmt: skip
