"""Those who are connected to a node which goes on from an image of another one."""

from __future__ import annotations

from coord.commands import CLUSTER, Caller, Get, Lock, OpenSession, Unlock
from coord.errors import CoordError, Lagged, NotHeld, SessionExpired, Unknown
from coord.events import Event, SessionEvent, Trouble
from coord.paths import Glob
from coord.paxos.timing import Timing
from coord.replicator.tuning import Tuning
from coord.results import Granted, Opened, Queued, Value, Written
from coord.store.sessions import key_hash
from tests.replicator.case import Asked
from tests.replicator.far_case import FarBehind


def caller(session: str) -> Caller:
    """Return the cluster as one who has a session."""
    return Caller(CLUSTER.who, "", CLUSTER.level, session)


class Clients(FarBehind):
    """Those who are connected to the node that was away."""

    def watch(self, rev: int | None = None) -> list[Event]:
        """Watch at the node that is going to be away; returns what it is going to be told."""
        told: list[Event] = []

        def wake() -> None:
            told.extend(watch.take(10_000))

        watch = self.nodes[self.away].coordinator.watch(Glob.parse(b"/fill/*"), rev, wake)
        return told

    def test_watch_goes_on(self) -> None:
        """A watch whose history is kept misses nothing, doubles nothing."""
        told = self.watch()
        self.miss()
        self.come_back()
        self.fill(5)
        revisions = [event.rev for event in told]
        self.assertEqual(revisions, sorted(set(revisions)))
        self.assertEqual(len(revisions), 65)

    def test_watch_too_far(self) -> None:
        """A watch whose history is not kept is told so, and from where to go on."""
        self.tuning = Tuning(
            image_every_bytes=20_000,
            log_bytes_kept=0,
            history_revisions=10,
            timing=Timing(recent_bytes_max=1000),
        )
        for name in list(self.nodes):
            self.crash(name)
            self.start(name)
        self.advance(2.0)
        self.away, self.other = self.followers()
        woken: list[None] = []
        coordinator = self.nodes[self.away].coordinator
        watch = coordinator.watch(Glob.parse(b"/fill/*"), None, lambda: woken.append(None))
        self.miss()
        self.come_back()
        self.assertTrue(woken)
        error = self.assertRaises(Lagged, watch.take, 100)
        self.assertIn(str(self.nodes[self.away].replicator.store._history.foothold), str(error))

    def test_own_write_under_way(self) -> None:
        """A write that was done unseen is UNKNOWN, one that was not is done; both only once."""
        lost = self.set(self.away, "/fill/lost")
        self.clock.advance(0)
        self.hub.deliver()  # the leader has it
        self.hub.isolate(self.away)
        late = self.set(self.away, "/late")
        self.fill(30)
        self.assertEqual((lost.is_answered, late.is_answered), (False, False))
        self.come_back(0.5)
        self.assertIsInstance(lost.results[0], Unknown)
        self.assertIsInstance(late.results[0], Written)
        self.assertIsInstance(self.value(self.away, "/fill/lost"), Value)
        self.same()

    def test_read_under_way(self) -> None:
        """A read that waited is answered from what the image holds."""
        self.miss(count=25)
        self.set(self.leader(), "/read", b"new")
        self.advance(0.1)
        read = self.submit(self.away, Get("/read"))
        self.come_back(1.5)
        result = read.results[0]
        assert isinstance(result, Value)
        self.assertEqual(result.value, b"new")

    def open(self, session: str) -> None:
        """Open a session of ten seconds."""
        asked = self.submit(self.leader(), OpenSession(session, key_hash("key"), 10_000))
        self.advance(0.2)
        self.assertIsInstance(asked.results[0], Opened)

    def test_session_that_is_no_more(self) -> None:
        """Who has a session there that expired meanwhile is told so; another one is kept."""
        gone, kept = "0" * 16, "1" * 16
        self.open(gone)
        self.open(kept)
        told: list[SessionEvent] = []
        coordinator = self.nodes[self.away].coordinator
        coordinator.attach(gone, told.append, own=False)
        coordinator.attach(kept, told.append, own=True)
        self.advance(1.0)
        self.hub.isolate(self.away)
        keeping = self.nodes[self.other].coordinator.attach(kept, lambda event: None, own=True)
        self.advance(12.0)
        keeping.detach()
        self.fill()
        self.come_back()
        expired = [one.session for one in told if one.kind is Trouble.EXPIRED]
        self.assertEqual(expired, [gone])

    def test_lock_given_meanwhile(self) -> None:
        """Who waited there for a lock is told that it was granted, or lost."""
        one, two, three = ("1" * 16, "2" * 16, "3" * 16)
        for session in (one, two, three):
            self.open(session)
        self.lock(self.leader(), one)
        told: list[Granted | CoordError] = []
        for session in (two, three):
            queued = self.lock(self.leader(), session)
            self.assertIsInstance(queued.results[0], Queued)
            self.nodes[self.away].coordinator.await_lock("/lock", session, told.append)
        self.hub.isolate(self.away)
        for session in (one, three):
            self.unlock(self.leader(), session)
        self.fill()
        self.come_back()
        self.assertEqual([type(fate) for fate in told], [Granted, NotHeld])
        self.assertNotIsInstance(told[0], SessionExpired)

    def lock(self, name: str, session: str) -> Asked:
        """Ask for the lock."""
        asked = Asked()
        lock = Lock("/lock", wait_ms=60_000)
        self.nodes[name].coordinator.submit([lock], asked, caller(session))
        self.advance(0.2)
        return asked

    def unlock(self, name: str, session: str) -> None:
        """Give the lock up, or the place in its queue."""
        asked = Asked()
        self.nodes[name].coordinator.submit([Unlock("/lock")], asked, caller(session))
        self.advance(0.2)
