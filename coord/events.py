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

    ``value`` is what it holds now; ``None`` exactly where ``kind`` is ``DEL``.
    """

    rev: int
    kind: Kind
    path: str
    value: bytes | None = None
