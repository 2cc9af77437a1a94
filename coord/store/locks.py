"""Who holds which lock, and who waits for it: the state, and the indices over it.

A lock is there as long as somebody holds it. Holders are all of one mode; who may come next is
the head of the queue and nobody else, so that what is fair is also cheap: nothing is ever
searched. What this means for the lock's node is in `coord.store.granting`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a session wants of a lock: its place in the queue, where it has to wait."""

    session: str
    author: str
    since_ms: int
    shared: bool
    number: int
    value: bytes | None
    wait_ms: int
    delay_ms: int


class Holder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One who holds a lock. ``value`` is what the node holds for it.

    ``is_lost``: its session is over, and the lock waits for its ``delay_ms`` to pass.
    """

    session: str
    author: str
    since_ms: int
    shared: bool
    token: int
    value: bytes
    delay_ms: int
    is_lost: bool = False


class Before(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a node was before it became a lock's, and will be again."""

    value: bytes
    owner: str | None
    ttl_ms: int


class Lock:
    """One lock that is held.

    ``holders`` and ``queue`` are by session, in the order of their tokens and numbers; each gives
    one up at either end, or in the middle, without a look at the others.
    """

    __slots__ = ("before", "holders", "key", "queue", "shared")

    def __init__(self, key: str, before: Before | None) -> None:
        self.key = key
        self.before = before
        self.shared = False
        self.holders: OrderedDict[str, Holder] = OrderedDict()
        self.queue: OrderedDict[str, Place] = OrderedDict()

    def allows(self, shared: bool) -> bool:
        """Say whether one more may hold it now."""
        return not self.holders or (shared and self.shared)

    def holder(self, session: str) -> Holder | None:
        """Return a session's hold, if it is not over."""
        holder = self.holders.get(session)
        return None if holder is None or holder.is_lost else holder

    def newest(self, without: str) -> Holder | None:
        """Return the newest holder beside a session."""
        newest = reversed(self.holders.values())
        return next((one for one in newest if one.session != without), None)

    def first(self) -> Place | None:
        """Return the head of the queue."""
        return next(iter(self.queue.values()), None)


class Locks:
    """All locks, by the keys of their nodes; and the number of the last place in a queue.

    ``tokens`` finds who holds a lock, or is lost, by key and token.
    """

    __slots__ = ("live", "number", "tokens")

    def __init__(self, number: int = 0) -> None:
        self.live: dict[str, Lock] = {}
        self.number = number
        self.tokens: dict[tuple[str, int], str] = {}

    def in_order(self) -> Iterator[Lock]:
        """Yield all locks in path order."""
        return (self.live[key] for key in sorted(self.live))

    def hold(self, key: str, holder: Holder) -> None:
        """Add a holder to a lock that is there."""
        lock = self.live[key]
        lock.shared = holder.shared
        lock.holders[holder.session] = holder
        self.tokens[key, holder.token] = holder.session

    def holder(self, key: str, token: int) -> Holder | None:
        """Return who holds a lock under a token, or did so when it was lost."""
        session = self.tokens.get((key, token))
        return None if session is None else self.live[key].holders[session]
