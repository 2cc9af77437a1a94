"""Spans of time that the log began and the leader ends: lifetimes, waits and lock-delays.

Every node counts a span from when it applied its beginning, and whoever leads proposes its
end once it is over by the leader's own count. So it never ends early, whoever leads then:

1. The leader n1 applies ``SET ttl=5 /a`` at revision 9, n2 a little later; both count from then.
2. n1 is lost, n2 leads. It goes on counting: /a goes five seconds after n2 applied it, which is
   five seconds after it was set, and a little.
3. n1 is started again and applies revision 9 anew. It begins to count anew: if it leads, /a goes
   late.

Nor is it early by another's clock: each node counts a little longer than it was told, by as much
as its own clock may be fast.

An end is for one beginning: for the revision that last changed the node, the number of the place
in the queue, the token of the lost holder. So an end that was proposed before and is chosen
after a new beginning is passed over by the store, on every node alike.

What ended otherwise (a node deleted, say) is not told to those who count. A deleted node's
lifetime, which may be years, is found by a hand that goes round as new lifetimes begin: two are
looked at for each that comes, so that at most about half of what is counted is over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeAlias

from coord.commands import Lapse, Stat
from coord.replicator.deadlines import Deadlines, counted_seconds
from coord.results import Facts
from coord.store.machine import Store
from coord.store.news import Delay, Lifetime, Patience, Span

_LOOKS_PER_LIFETIME: Final = 2
_LIFETIMES_UNLOOKED: Final = 64

Key: TypeAlias = str | tuple[str, str] | tuple[str, int]
"""A path, a place in a queue (path and session), or a lost holder (path and token)."""


class Spans:
    """What is being counted on one node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spans: dict[Key, Span] = {}
        self._lifetimes: OrderedDict[str, None] = OrderedDict()
        self._ends: Deadlines[Key] = Deadlines()

    def __len__(self) -> int:
        return len(self._spans)

    def begin(self, span: Span, now: float) -> None:
        """Count a span that begins now."""
        key = _key(span)
        self._spans[key] = span
        self._ends.set(key, now + counted_seconds(span.span_ms))
        if isinstance(span, Lifetime):
            self._lifetimes[span.path] = None
            if len(self._lifetimes) > _LIFETIMES_UNLOOKED:
                self._look()

    def begin_anew(self, now: float) -> None:
        """Count from now what the store says is under way, and nothing else."""
        self._spans.clear()
        self._lifetimes.clear()
        self._ends = Deadlines()
        for span in self._store.spans():
            self.begin(span, now)

    def end_place(self, path: str, session: str) -> None:
        """Take note that a place in a queue is no more."""
        self._drop((path, session))

    def lapsed(self, lapse: Lapse) -> None:
        """Take note of what ended by a leader's word."""
        for path, rev in lapse.nodes:
            span = self._spans.get(path)
            if isinstance(span, Lifetime) and span.rev == rev:
                self._drop(path)
        for path, session, number in lapse.waits:
            span = self._spans.get((path, session))
            if isinstance(span, Patience) and span.number == number:
                self._drop((path, session))
        for path, token in lapse.delays:
            self._drop((path, token))

    def take(self, now: float, limit: int) -> list[Span]:
        """Take what is over and was not taken; it stays known until it is seen to have lapsed."""
        return [self._spans[key] for key in self._ends.take(now, limit)]

    def give_back(self, spans: Iterable[Span], now: float) -> None:
        """Let what was taken, and may not have lapsed, be taken again."""
        for span in spans:
            key = _key(span)
            if self._spans.get(key) == span:
                self._ends.set(key, now)

    def _drop(self, key: Key) -> None:
        self._spans.pop(key, None)
        self._ends.drop(key)
        if isinstance(key, str):
            self._lifetimes.pop(key, None)

    def _look(self) -> None:
        """Look whether the lifetimes looked at longest ago are still under way."""
        for _ in range(_LOOKS_PER_LIFETIME):
            path = next(iter(self._lifetimes))
            span = self._spans[path]
            if isinstance(span, Lifetime) and self._is_under_way(span):
                self._lifetimes.move_to_end(path)
            else:
                self._drop(path)

    def _is_under_way(self, span: Lifetime) -> bool:
        facts = self._store.answer(Stat(span.path))
        if not isinstance(facts, Facts):
            return False
        return facts.rev == span.rev and facts.ttl_seconds is not None


def _key(span: Span) -> Key:
    if isinstance(span, Lifetime):
        return span.path
    return (span.path, span.session) if isinstance(span, Patience) else (span.path, span.token)


def lapse_of(sessions: Iterable[str], spans: Iterable[Span]) -> Lapse:
    """Return the leader's word that these are over."""
    spans = list(spans)
    return Lapse(
        tuple(sessions),
        tuple([(one.path, one.rev) for one in spans if isinstance(one, Lifetime)]),
        tuple([(one.path, one.session, one.number) for one in spans if isinstance(one, Patience)]),
        tuple([(one.path, one.token) for one in spans if isinstance(one, Delay)]),
    )
