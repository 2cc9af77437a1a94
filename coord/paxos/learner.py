"""The learner: what is chosen, in order and without gap (PMS 2.3, PML 5.1).

Nodes learn through the leader: ``Commit(ballot, upto)`` says that what the leader proposed
at ``ballot`` is chosen up to there. A node whose own vote for a slot is of that ballot
knows the value, for a ballot has one value a slot. Where it has no such vote there is a
gap, and it fetches the value from someone who knows.

``chosen`` is the end of the prefix without gap; values that are known beyond it wait. The
last few are kept for peers a little behind; older ones are the journal's to recall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice

from coord.limits import RECENT_BYTES_MAX
from coord.paxos.acceptor import size_of
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Value, Vote


class Learner:
    """The chosen prefix, and what is known beyond it."""

    def __init__(self, chosen: int, recent_bytes_max: int = RECENT_BYTES_MAX) -> None:
        self.chosen = chosen
        self._recent_bytes_max = recent_bytes_max
        self.target = chosen
        self._committed = NEVER
        self._committed_upto = 0
        self._known: dict[int, Value] = {}
        self._recent: deque[Value] = deque()
        self._recent_bytes = 0

    @property
    def is_behind(self) -> bool:
        """Whether more is known to be chosen than this node has the values of."""
        return self.target > self.chosen

    def aim(self, slot: int) -> None:
        """Note that everything up to ``slot`` is chosen, whatever the values are."""
        self.target = max(self.target, slot)

    def commit(self, ballot: Ballot, upto: int) -> None:
        """Note that what ``ballot`` proposed is chosen up to ``upto``."""
        self.aim(upto)
        if ballot > self._committed:
            self._committed, self._committed_upto = ballot, upto
        elif ballot == self._committed:
            self._committed_upto = max(self._committed_upto, upto)

    def learn(self, slot: int, value: Value) -> None:
        """Note the value chosen in ``slot``."""
        self.aim(slot)
        if slot > self.chosen:
            assert self._known.setdefault(slot, value) == value, "agreement: one value a slot"

    def advance(self, votes: Mapping[int, Vote]) -> tuple[Value, bool] | None:
        """Take the next chosen value, if it is known; True with it if this node voted for it."""
        slot = self.chosen + 1
        vote = votes.get(slot)
        if slot in self._known:
            value = self._known.pop(slot)
            own = vote is not None and vote.value == value
        elif vote is not None and vote.ballot == self._committed and slot <= self._committed_upto:
            value, own = vote.value, True
        else:
            return None
        self._take(value)
        return value, own

    def _take(self, value: Value) -> None:
        self.chosen += 1
        self.target = max(self.target, self.chosen)
        self._recent.append(value)
        self._recent_bytes += size_of(value)
        while self._recent_bytes > self._recent_bytes_max:
            self._recent_bytes -= size_of(self._recent.popleft())

    def restore(self, value: Value) -> None:
        """Take a value read from the journal as the next one chosen."""
        self._known.pop(self.chosen + 1, None)
        self._take(value)

    def skip(self, slot: int) -> None:
        """Go on after ``slot``: what the slots up to there led to is known without their values."""
        self.chosen = slot
        self.aim(slot)
        for known in [known for known in self._known if known <= slot]:
            del self._known[known]
        self._recent.clear()
        self._recent_bytes = 0

    def recall(self, slot: int, until: int, size_bytes_max: int) -> tuple[Value, ...] | None:
        """Return recent chosen values that fit, or None where ``slot`` is older than those."""
        first = self.chosen - len(self._recent) + 1
        if slot < first:
            return None
        picked: list[Value] = []
        size_bytes = 0
        for value in islice(self._recent, slot - first, min(until, self.chosen + 1) - first):
            picked.append(value)
            size_bytes += size_of(value)
            if size_bytes >= size_bytes_max:
                break
        return tuple(picked)
