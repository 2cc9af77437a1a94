"""When sessions expire: what the leader alone decides, and the log carries out.

The promise: *a keep that was confirmed, asked for at t, is never followed by an expiry before
t and the timeout*, on whatever node it was asked for, whatever leaders come and go, and by
whosever clock: the leader counts a little longer, by as much as its own may be fast.

The rules that keep it:

a. A leader gives every session its full timeout from when it began to lead, and from when it
   last heard of it, and a grace for what is still on the way.
b. It proposes an expiry under its own ballot, straight into a slot, like the founding write; it
   is never handed on. Once it is proposed the session is *doomed*: no keep of it is
   confirmed by this leader, until the proposal is applied or this node leads no more.
c. It confirms a keep only when it is certain that it led after it heard of it (by the lease, or by
   a majority that answered since) and has applied all that was chosen before.
d. It proposes only while it hears a majority, and time in which it heard nobody, since it was
   itself stopped, does not count.

Why that is enough, as a story. n1 leads, session s lives at n3, its timeout is 10 s.

1. n1 hears of s at 0, and confirms (rule c: nobody else leads at 0). Were n1 to stay, then rule a.
2. n1 is cut off at 1. n2 leads from 2 on, without having heard of s: by rule a, s has until 12.
   n1 knows nothing of that; at 10 it would propose the expiry of s, but hears no majority (d). Had
   it proposed just before it was cut off, its ballot would find no quorum, but for what
   follows.
3. Before it was cut off n1 proposed the expiry of another session, r, in slot 50, and only n2
   voted for it. n2 leads, finds that vote, and has to propose it again. A keep of r comes to n2:
   rule c, n2 confirms nothing before slot 50 is chosen and applied; then r is gone, and the keep is
   answered so. Nor did n1 confirm any keep of r after it proposed (b).
4. If n2's quorum did not report that vote, slot 50 with n1's proposal can never be chosen. r
   lives on, with its full timeout from n2's beginning; n1 called it lost, but no client was told:
   *expired* is said when the end is applied.
5. n3 follows n1 still while n2 leads, and reports s to n1: n1 cannot be certain to lead, so n3
   gets no answer, and those attached to s hear of their jeopardy. When n3 follows n2 it tells all
   that is not confirmed again.
6. n1 comes back, restarted or not, and leads anew: under a new ballot, for none is used twice.
   It has forgotten who was doomed, and may: what it proposed under the old ballot was found by the
   new phase 1, and is applied before it confirms anything, or is dead.

One proposal is on its way at a time, bounded in what it ends, so that nobody's lease is
lost over a thousand ends; what is due meanwhile waits a tick or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from coord.commands import Lapse
from coord.limits import EXPIRY_GRACE_SECONDS, LAPSES_PER_BATCH_MAX, LAPSING_NODES_MAX
from coord.paxos.ballot import Ballot
from coord.replicator.deadlines import Deadlines, counted_seconds
from coord.replicator.spans import Spans, lapse_of
from coord.store.machine import Store
from coord.store.news import Span

DEAF_SECONDS: Final = EXPIRY_GRACE_SECONDS / 2
"""A leader that did not look at its clock for so long was stopped, and heard nobody."""


class Lapses:
    """What a node knows as leader, from when it began until it leads no more.

    ``lapsed`` counts what it proposed to end.
    """

    def __init__(self, store: Store, spans: Spans) -> None:
        self._store = store
        self._spans = spans
        self._ballot: Ballot | None = None
        self._ends: Deadlines[str] = Deadlines()
        self._looked_at = 0.0
        self._deaf_seconds = 0.0
        self._flying: Lapse | None = None
        self._flying_spans: list[Span] = []
        self.lapsed = 0

    @property
    def ballot(self) -> Ballot | None:
        """The ballot under which this node leads; None where it does not."""
        return self._ballot

    # -- leading and not -----------------------------------------------------------------------
    def lead(self, ballot: Ballot, now: float) -> None:
        """Take note that this node leads: every session has its full timeout from its beginning."""
        if ballot == self._ballot:
            return
        self.follow(now)
        self._ballot = ballot
        self._looked_at, self._deaf_seconds = now, 0.0
        self._ends = Deadlines()
        for session, timeout_ms in self._store.timeouts_ms.items():
            self.opened(session, timeout_ms, now)

    def follow(self, now: float) -> None:
        """Take note that this node leads no more; nobody is doomed by it."""
        self._spans.give_back(self._flying_spans, now)
        self._ballot = self._flying = None
        self._flying_spans = []

    # -- what becomes of sessions ----------------------------------------------------------------
    def opened(self, session: str, timeout_ms: int, now: float) -> None:
        """Take note of a session that is new here."""
        if self._ballot is not None:
            self._ends.set(session, self._due(timeout_ms, now))

    def over(self, session: str) -> None:
        """Take note that a session ended."""
        self._ends.drop(session)

    def heard(self, sessions: Sequence[str], ages_ms: Sequence[int], now: float) -> None:
        """Take note that sessions were heard of, so many milliseconds ago."""
        timeouts_ms, ends = self._store.timeouts_ms, self._ends
        ages = iter(ages_ms)
        for session in sessions:
            timeout_ms, age_ms = timeouts_ms.get(session), next(ages, 0)
            if timeout_ms is not None and session in ends:
                ends.put_off(session, self._due(timeout_ms, now - age_ms / 1000))

    def lost(self, sessions: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``sessions`` that are no more, or doomed."""
        ends = self._ends
        return tuple([session for session in sessions if session not in ends])

    def _due(self, timeout_ms: int, now: float) -> float:
        return now - self._deaf_seconds + counted_seconds(timeout_ms) + EXPIRY_GRACE_SECONDS

    # -- proposing -------------------------------------------------------------------------------
    def next(self, now: float, *, may_propose: bool) -> Lapse | None:
        """Return what is to be proposed now to be over, if anything; called every tick.

        :param may_propose: whether this node leads, hears a majority, and has a slot to fill.
        """
        gap = now - self._looked_at
        self._looked_at = now
        if gap > DEAF_SECONDS:
            self._deaf_seconds += gap
        if self._ballot is None or self._flying is not None or not may_propose:
            return None
        sessions = self._take_sessions(now)
        spans = self._spans.take(now, LAPSES_PER_BATCH_MAX - len(sessions))
        if not sessions and not spans:
            return None
        self._flying, self._flying_spans = lapse_of(sessions, spans), spans
        self.lapsed += len(sessions) + len(spans)
        return self._flying

    def _take_sessions(self, now: float) -> list[str]:
        """Take the sessions that are due, as many as may go at once; they are doomed from now."""
        due = self._ends.take(now - self._deaf_seconds, LAPSES_PER_BATCH_MAX)
        nodes = taken = 0
        for session in due:
            nodes += self._store.nodes_of(session)
            if taken and nodes > LAPSING_NODES_MAX:
                break
            taken += 1
        for session in due[taken:]:
            self._ends.set(session, now - self._deaf_seconds)
        return due[:taken]

    def applied(self, lapse: Lapse) -> None:
        """Take note that a leader's word was carried out, this one's or an earlier one's."""
        self._spans.lapsed(lapse)
        if lapse == self._flying:
            self._flying = None
            self._flying_spans = []
