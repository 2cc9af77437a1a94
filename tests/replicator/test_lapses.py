"""When a leader lets sessions expire; the rules and the story are in `coord.replicator.lapses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Lapse
from coord.limits import EXPIRY_GRACE_SECONDS, LAPSES_PER_BATCH_MAX, LAPSING_NODES_MAX
from coord.paxos.ballot import Ballot
from coord.replicator.deadlines import counted_seconds
from coord.replicator.lapses import Lapses
from coord.replicator.spans import Spans
from coord.store.news import Lifetime
from tests.replicator.fake_store import FakeStore

GRACE = EXPIRY_GRACE_SECONDS
STEP_SECONDS = 0.02
FIRST = Ballot(1, "n1")


class Case(SynchronousTestCase):
    """A node that leads from 100 s on; the store has session ``s`` of ten seconds."""

    def setUp(self) -> None:
        """Begin to lead."""
        self.now = 100.0
        self.store = FakeStore()
        self.store.timeouts["s"] = 10_000
        self.spans = Spans(self.store)
        self.lapses = Lapses(self.store, self.spans)
        self.lapses.lead(FIRST, self.now)
        self.may_propose = True
        self.span_ms = 10_000
        self.proposed: list[tuple[float, Lapse]] = []

    def advance(self, seconds: float) -> None:
        """Let time pass in ticks, and note what is proposed."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self.now += STEP_SECONDS
            lapse = self.lapses.next(self.now, may_propose=self.may_propose)
            if lapse is not None:
                self.proposed.append((self.now - 100.0, lapse))

    def heard(self, *sessions: str, age_ms: int = 0) -> None:
        """Hear of sessions."""
        self.lapses.heard(sessions, (age_ms,) * len(sessions) if age_ms else (), self.now)

    def carry_out(self) -> None:
        """Apply the last lapse."""
        lapse = self.proposed[-1][1]
        for session in lapse.sessions:
            self.store.timeouts.pop(session, None)
            self.lapses.over(session)
        self.lapses.applied(lapse)

    def assert_expires(self, session: str, after: float) -> None:
        """Expect one session to be proposed so long after 100 s, a tick or two late at most."""
        after += counted_seconds(self.span_ms) - self.span_ms / 1000
        self.advance(after - (self.now - 100.0) - STEP_SECONDS / 2)
        self.assertEqual(self.proposed, [])
        self.advance(4 * STEP_SECONDS)
        self.assertEqual([lapse.sessions for _, lapse in self.proposed], [(session,)])
        self.assertGreaterEqual(self.proposed[0][0], after)


class Expiry(Case):
    """One leader."""

    def test_never_heard_of(self) -> None:
        """A session has its whole timeout, and a grace, from when the leader began."""
        self.assert_expires("s", 10 + GRACE)

    def test_heard_of(self) -> None:
        """And from when the leader last heard of it."""
        self.advance(7.0)
        self.heard("s")
        self.assert_expires("s", 17 + GRACE)

    def test_heard_late(self) -> None:
        """What was heard of it a while ago counts from then, and takes nothing away."""
        self.advance(7.0)
        self.heard("s", age_ms=3000)
        self.heard("s", age_ms=9000)
        self.assert_expires("s", 14 + GRACE)

    def test_opened(self) -> None:
        """A session that is new has its timeout from its beginning."""
        self.store.timeouts.clear()
        self.lapses.over("s")
        self.advance(5.0)
        self.store.timeouts["t"] = 2000
        self.lapses.opened("t", 2000, self.now)
        self.span_ms = 2000
        self.assert_expires("t", 7 + GRACE)

    def test_ended(self) -> None:
        """A session that was ended does not expire."""
        self.store.timeouts.clear()
        self.lapses.over("s")
        self.advance(60.0)
        self.assertEqual(self.proposed, [])

    def test_no_majority(self) -> None:
        """Nothing is proposed while the leader hears no majority."""
        self.may_propose = False
        self.advance(60.0)
        self.assertEqual(self.proposed, [])
        self.assertEqual(self.lapses.lost(["s"]), ())
        self.heard("s")
        self.may_propose = True
        self.advance(9.0)
        self.assertEqual(self.proposed, [])

    def test_stopped(self) -> None:
        """A leader that was stopped for an hour heard nobody in it: that hour does not count."""
        self.advance(9.0)
        self.now += 3600
        self.advance(1.0)
        self.assertEqual(self.proposed, [])
        self.heard("s")
        self.advance(10.0)
        self.assertEqual(self.proposed, [])
        self.advance(0.5)
        self.assertEqual(len(self.proposed), 1)


class Doom(Case):
    """What was proposed and is not applied."""

    def test_doomed(self) -> None:
        """A doomed session is lost to whoever keeps it now; it is proposed once."""
        self.advance(11.0)
        self.assertEqual(self.lapses.lost(["s", "never"]), ("s", "never"))
        self.heard("s")
        self.assertEqual(self.lapses.lost(["s"]), ("s",))
        self.advance(60.0)
        self.assertEqual(len(self.proposed), 1)
        self.carry_out()
        self.advance(60.0)
        self.assertEqual(len(self.proposed), 1)
        self.assertEqual(self.lapses.lost(["s"]), ("s",))

    def test_one_at_a_time(self) -> None:
        """What comes due while a lapse is on its way waits until that is applied."""
        self.store.timeouts["t"] = 12_000
        self.lapses.opened("t", 12_000, 100.0)
        self.advance(20.0)
        self.assertEqual(len(self.proposed), 1)
        self.assertEqual(self.lapses.lost(["t"]), ())
        self.heard("t")
        self.carry_out()
        self.advance(12.0)
        self.assertEqual(len(self.proposed), 1)
        self.advance(1.0)
        self.assertEqual(self.proposed[-1][1].sessions, ("t",))

    def test_earlier_leaders(self) -> None:
        """A lapse of an earlier leader, found by its successor, ends the session, and only it."""
        self.store.timeouts["t"] = 10_000
        self.lapses.opened("t", 10_000, 100.0)
        self.lapses.over("s")
        self.lapses.applied(Lapse(sessions=("s",)))
        self.assertEqual(self.lapses.lost(["s", "t"]), ("s",))
        self.assert_expires("t", 10 + GRACE)

    def test_leads_no_more(self) -> None:
        """Who leads no more proposes nothing and has doomed nobody; nor does it know of anyone."""
        self.advance(11.0)
        self.lapses.follow(self.now)
        self.advance(60.0)
        self.assertEqual((len(self.proposed), self.lapses.ballot), (1, None))
        self.heard("s")

    def test_leads_again(self) -> None:
        """Who leads again, under a new ballot, gives everyone the full timeout from then."""
        self.advance(11.0)
        self.proposed.clear()
        self.lapses.follow(self.now)
        self.lapses.lead(Ballot(3, "n1"), self.now)
        self.assertEqual(self.lapses.lost(["s"]), ())
        self.lapses.lead(Ballot(3, "n1"), self.now + 5)
        self.assert_expires("s", 21 + GRACE)

    def test_lifetimes_go_on(self) -> None:
        """Lifetimes go on whoever leads; what an old proposal of them came to does not matter."""
        self.spans.begin(Lifetime("/a", 9, 1000), self.now)
        self.advance(1.5)
        self.assertEqual([lapse.nodes for _, lapse in self.proposed], [(("/a", 9),)])
        self.lapses.lead(Ballot(3, "n1"), self.now)
        self.advance(0.1)
        self.assertEqual([lapse.nodes for _, lapse in self.proposed], 2 * [(("/a", 9),)])
        self.lapses.applied(self.proposed[-1][1])
        self.advance(5.0)
        self.assertEqual((len(self.proposed), len(self.spans)), (2, 0))


class Bounds(Case):
    """How much ends at once."""

    def setUp(self) -> None:
        """Begin with a thousand sessions."""
        super().setUp()
        self.store.timeouts.clear()
        self.lapses.over("s")
        self.names = [f"s{number:03}" for number in range(1000)]
        self.store.timeouts.update(dict.fromkeys(self.names, 1000))
        self.lapses.lead(Ballot(2, "n1"), self.now)

    def drain(self) -> list[int]:
        """Let all expire, one lapse after the other; return how many went by each."""
        for _ in range(1000):
            count = len(self.proposed)
            self.advance(STEP_SECONDS)
            if len(self.proposed) > count:
                self.carry_out()
        gone = [session for _, lapse in self.proposed for session in lapse.sessions]
        self.assertEqual(sorted(gone), self.names)
        return [len(lapse.sessions) for _, lapse in self.proposed]

    def test_many(self) -> None:
        """A thousand sessions that expire together go by a few lapses."""
        counts = self.drain()
        self.assertEqual(max(counts), LAPSES_PER_BATCH_MAX)
        self.assertLessEqual(len(counts), 5)
        self.assertEqual(self.lapses.lapsed, 1000)

    def test_many_nodes(self) -> None:
        """Where they own much, fewer go at once; one that owns more than that goes alone."""
        self.store.nodes.update(dict.fromkeys(self.names, LAPSING_NODES_MAX // 10))
        self.store.nodes["s000"] = 5 * LAPSING_NODES_MAX
        counts = self.drain()
        self.assertEqual(max(counts), 10)
        alone = [lapse.sessions for _, lapse in self.proposed if "s000" in lapse.sessions]
        self.assertEqual(alone, [("s000",)])
