"""What a store tells its owner after a turn, beside the events of watches.

Time is the owner's: a store has no clock. It says which spans of time begin, and the leader
says with a `coord.commands.Lapse` when they are over. Every node keeps count of them from when it
applied their beginning, so that whoever leads next is never early. A span that ended otherwise is
not taken back: a `Lapse` passes over what has changed.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coord.errors import CoordError
from coord.results import Granted


class Lifetime(msgspec.Struct, frozen=True, gc=False):
    """The node at ``path`` goes ``span_ms`` after its change at ``rev``, unless it changes."""

    path: str
    rev: int
    span_ms: int


class Patience(msgspec.Struct, frozen=True, gc=False):
    """A place in the queue of the lock at ``path`` is kept for ``span_ms``."""

    path: str
    session: str
    number: int
    span_ms: int


class Delay(msgspec.Struct, frozen=True, gc=False):
    """The lock at ``path`` is nobody's for ``span_ms``: who held it under ``token`` was lost."""

    path: str
    token: int
    span_ms: int


Span: TypeAlias = Lifetime | Patience | Delay


class SessionBegun(msgspec.Struct, frozen=True, gc=False):
    """A session was opened; from now on somebody has to keep it alive."""

    session: str
    timeout_ms: int


class SessionOver(msgspec.Struct, frozen=True, gc=False):
    """A session ended at ``rev``, or at that revision without a change."""

    session: str
    rev: int
    is_expired: bool


class PlaceOver(msgspec.Struct, frozen=True, gc=False):
    """A place in a queue ended: the lock was granted, or why not."""

    path: str
    session: str
    result: Granted | CoordError


News: TypeAlias = Span | SessionBegun | SessionOver | PlaceOver
