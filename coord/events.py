"""What watchers see."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.Enum):
    """What happened to a node's value."""

    SET = "set"
    DEL = "del"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One node gained, changed or lost its value at ``rev``.

    ``value`` is what it holds now; ``None`` exactly where ``kind`` is ``DEL``. ``ttl_ms`` is how
    long it lives after that, for a lasting watch; else 0.
    """

    rev: int
    kind: Kind
    path: str
    value: bytes | None = None
    ttl_ms: int = 0


class Trouble(enum.Enum):
    """What befell a session.

    ``JEOPARDY``: its node cannot keep it alive at present, so it may expire. ``SAFE``: it can
    again. ``EXPIRED``: it is over, and so is what it owned.
    """

    JEOPARDY = "jeopardy"
    SAFE = "safe"
    EXPIRED = "expired"


class SessionEvent(msgspec.Struct, frozen=True, gc=False):
    """What befell the session of a connection, at this node's revision ``rev``."""

    rev: int
    kind: Trouble
    session: str
