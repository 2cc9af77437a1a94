"""A session that outlives its servers, and knows when it is over."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from coord import commands
from coord.client import Lock, Session
from coord.errors import (
    BadRequest,
    NoEntry,
    NoSession,
    Overloaded,
    SessionExpired,
    Unavailable,
    Unknown,
)
from coord.events import Trouble
from coord.limits import CLOCK_DRIFT_MAX
from coord.results import Written
from tests.client.case import ClientCase
from tests.client.wires import Server, share_sessions


class SessionCase(ClientCase):
    """Two servers with one store, a client, and its session."""

    def setUp(self) -> None:
        """Start the servers."""
        super().setUp()
        share_sessions(self.first.coordinator, self.second.coordinator)

    def open(self, timeout_seconds: float = 10.0) -> Session:
        """Return an open session."""
        session = self.client.session(timeout_seconds=timeout_seconds)
        return self.now(session.opened())

    def lock(self, path: str = "/lock") -> Lock:
        """Return a lock that is held."""
        return self.now(self.client.lock(path, b"me"))


class Life(SessionCase):
    """How long a session lives."""

    def test_opened(self) -> None:
        """A session is open once a server says so, and certain for its timeout from when it was
        asked for, less what clocks may differ.
        """
        asked_at = self.clock.seconds()
        session = self.open(5)
        self.assertEqual((session.state, session.timeout_seconds), ("held", 5))
        self.assertEqual(session.valid_until, asked_at + 5 * (1 - CLOCK_DRIFT_MAX))
        self.assertIn(session.id or "-", self.store.timeouts_ms)
        self.assertIn(session.id or "-", session.describe())

    def test_kept(self) -> None:
        """It is kept for as long as it is wanted, and never comes near its end."""
        session = self.open(3)
        lost = session.lost()
        for _ in range(100):
            self.advance(0.1)
            self.assertGreater(session.seconds_left, 1.5)
        self.assertNoResult(lost)

    def test_one(self) -> None:
        """A client has one session at a time; another asks for the same or is refused."""
        session = self.open(5)
        self.assertIs(self.client.session(), session)
        self.assertIs(self.client.session(timeout_seconds=5), session)
        self.assertRaises(BadRequest, self.client.session, timeout_seconds=6)
        self.assertRaises(BadRequest, self.client.session, margin_seconds=2)

    def test_ephemeral(self) -> None:
        """What needs a session gets one, and goes with it."""
        self.now(self.client.set("/here", b"", ephemeral=True))
        session = self.client.session()
        facts = self.now(self.client.stat("/here"))
        self.assertEqual(facts.owner, session.id)
        self.now(session.end())
        self.assertEqual(session.state, "over")
        read = self.client.get("/here")
        self.advance(0)
        self.failureResultOf(read, NoEntry)
        self.assertIsNone(self.now(session.lost()))
        self.assertIsNot(self.client.session(), session)

    def test_context(self) -> None:
        """A session as a context is open inside and ended after it."""

        async def use() -> str:
            async with self.client.session() as session:
                await self.client.set("/here", b"", ephemeral=True)
                return session.state

        self.assertEqual(self.now(ensureDeferred(use())), "held")
        self.assertEqual(dict(self.store.timeouts_ms), {})

    def test_next_server(self) -> None:
        """It is taken up on the next server by its id and key; nothing that it owns is lost."""
        session = self.open()
        self.now(self.client.set("/here", b"", ephemeral=True))
        self.first.kill()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(session.state, "suspended")
        self.advance(1)
        self.assertEqual(session.state, "held")
        self.assertEqual(self.now(self.client.stat("/here")).owner, session.id)
        self.assertEqual(len(self.second.connections), 1)

    def test_unopened(self) -> None:
        """A session that nobody can open says so in the time that requests have."""
        self.first.kill()
        self.second.kill()
        session = self.client.session()
        opened = session.opened()
        self.advance(9.9)
        self.assertNoResult(opened)
        self.advance(0.2)
        self.failureResultOf(opened, Unavailable)
        self.assertEqual(session.state, "over")

    def test_no_quorum(self) -> None:
        """A server that cannot open it is left for one that can."""
        self.first.coordinator.quorum = False
        session = self.client.session()
        self.advance(1)
        self.assertIs(self.successResultOf(session.opened()), session)
        self.assertEqual(len(self.second.connections), 1)

    def test_slow_to_take_up(self) -> None:
        """A server that does not say in time whether it knows the session is left."""
        third = Server(self.clock, self.store)
        share_sessions(self.first.coordinator, third.coordinator)
        client = self.client_of(self.first, self.second, third)
        session = self.now(client.session(timeout_seconds=4).opened())
        self.second.coordinator.holding = True
        self.first.kill()
        self.advance(2.5)
        self.assertEqual((session.state, len(third.connections)), ("held", 1))

    def test_expired(self) -> None:
        """A session that the cluster says is over is over at once; requests go on without."""
        session = self.open()
        lost = session.lost()
        self.first.coordinator.expire(session.id or "-")
        self.advance(0)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)
        self.assertEqual(self.now(self.client.set("/a", b"")), Written(self.store.rev))
        self.assertEqual(self.first.dialled, 1)
        self.assertNotEqual(self.open().id, session.id)

    def test_unconfirmed(self) -> None:
        """Where no server confirms it in time it is taken for lost before others may go on."""
        session = self.open()
        lost = session.lost()
        self.first.kill()
        self.second.kill()
        until = session.valid_until
        self.advance(8.5)
        self.assertNoResult(lost)
        while not lost.called:
            self.clock.advance(0.01)
        self.assertLessEqual(self.clock.seconds(), until - session.margin_seconds + 0.011)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)

    def test_frozen(self) -> None:
        """A server that falls silent is left in time, also with a short timeout."""
        for timeout_seconds in (1.0, 2.0, 10.0):
            client = self.client_of(self.first, self.second)
            session = self.now(client.session(timeout_seconds=timeout_seconds).opened())
            self.now(client.ping())
            self.first.freeze()
            self.advance(timeout_seconds * 3)
            self.assertEqual(session.state, "held")
            self.first.thaw()

    def test_slow_watch(self) -> None:
        """A watch that nobody takes from costs the session neither its server nor its life."""
        session = self.open(1)
        watch = self.client.watch("/w")
        self.now(watch.opened())
        for _ in range(10):
            writes = [commands.Set("/w", b"x" * 1000) for _ in range(1500)]
            self.first.coordinator.perform(writes, lambda _: None)
            self.advance(0.5)
            self.assertEqual(session.state, "held")
        self.assertEqual(self.first.dialled, 1)
        watch.close()

    def test_stopped(self) -> None:
        """A process that was stopped past the timeout knows it before it does anything else."""
        session = self.open()
        lock = self.lock()
        order: list[str] = []
        lock.lost().addCallback(lambda _: order.append("lock"))
        session.lost().addCallback(lambda _: order.append("session"))
        self.clock.rightNow += 60  # no timer has rung yet
        write = self.client.set("/a", b"")
        order.append("write")
        self.assertEqual(order, ["lock", "session", "write"])
        self.assertFalse(lock.is_held)
        self.advance(5)
        self.successResultOf(write)

    def test_stopped_and_told(self) -> None:
        """What a server says first thing after such a sleep is heard after the loss."""
        session = self.open()
        self.lock()
        order: list[str] = []
        (wire,) = self.first.connections
        wire.far.is_frozen = True
        read = self.client.get("/lock")
        self.advance(0)
        session.lost().addCallback(lambda _: order.append("lost"))
        read.addCallback(lambda _: order.append("read"))
        self.clock.rightNow += 60
        wire.far.is_frozen = False
        wire.far.deliver()
        self.assertEqual(order, ["lost", "read"])

    def test_given_up_is_not_kept(self) -> None:
        """No server goes on keeping a session that was given up here: its connection goes."""
        client = self.client_of(self.first)
        session = client.session(timeout_seconds=2)
        self.now(session.opened())
        self.first.coordinator.quorum = False
        lost = session.lost()
        self.advance(3)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)
        self.assertEqual(self.first.connections, [])

    def test_jeopardy(self) -> None:
        """A server that cannot keep it alive is left; where there is no other it is waited for."""
        session = self.open()
        self.first.coordinator.trouble(Trouble.JEOPARDY)
        self.advance(1)
        self.assertEqual((session.state, len(self.second.connections)), ("held", 1))
        alone = self.client_of(self.first)
        single = alone.session()
        self.now(single.opened())
        self.first.coordinator.trouble(Trouble.JEOPARDY)
        self.now(alone.ping())
        self.assertEqual(single.state, "suspended")
        self.first.coordinator.trouble(Trouble.SAFE)
        self.now(alone.ping())
        self.assertEqual(single.state, "held")

    def test_closed(self) -> None:
        """A client that is closed ends its session, so that others need not wait."""
        session = self.open()
        lock = self.lock()
        lost = lock.lost()
        self.now(self.client.close())
        self.failUnlessIsInstance(self.successResultOf(lost), NoSession)
        self.assertEqual(session.state, "over")
        self.assertEqual(dict(self.store.timeouts_ms), {})


class Ended(SessionCase):
    """A session that is ended while something is under way."""

    def test_behind_what_was_asked(self) -> None:
        """It is ended behind the writes asked before, and nothing is asked under it after."""
        session = self.open()
        write = self.client.set("/here", b"", ephemeral=True)
        ended = session.end()
        late = self.client.set("/late", b"", ephemeral=True)
        plain = self.client.set("/plain", b"")
        self.advance(0)
        self.successResultOf(ended)
        self.assertLess(self.successResultOf(write).rev, self.store.rev)
        self.successResultOf(plain)
        self.failureResultOf(late, NoSession)
        self.assertEqual(dict(self.store.timeouts_ms), {})

    def test_refused_meanwhile(self) -> None:
        """What was refused, and would be asked again after the end, is not."""
        session = self.open()
        coordinator = self.first.coordinator
        coordinator.holding = True
        write = self.client.set("/here", b"", ephemeral=True)
        self.advance(0.1)
        coordinator.waiting.pop()[1]([Overloaded("full")])
        coordinator.holding = False
        self.now(session.end())
        self.advance(1)
        self.failureResultOf(write, NoSession)
        self.assertEqual(dict(self.store.timeouts_ms), {})

    def test_over_a_loss(self) -> None:
        """Where the server is lost meanwhile it is ended on the next one."""
        session = self.open()
        self.first.coordinator.holding = True
        write = self.client.add("/n", b"")
        ended = session.end()
        self.advance(0.1)
        self.first.kill()
        self.advance(1)
        self.successResultOf(ended)
        self.successResultOf(write)
        self.assertEqual(dict(self.store.timeouts_ms), {})

    def test_nobody_there(self) -> None:
        """Where nobody can be told it is left to run out."""
        session = self.open(60)
        self.first.kill()
        self.second.kill()
        ended = session.end()
        self.advance(9.9)
        self.assertNoResult(ended)
        self.advance(0.2)
        self.successResultOf(ended)
        self.assertEqual(session.state, "over")


class Once(SessionCase):
    """Writes whose answers were lost."""

    def test_done_once(self) -> None:
        """A write whose answer was lost is sent again and answered as the first was."""
        self.open()
        self.first.coordinator.holding = True
        writes = []
        for _ in range(5):
            writes.append(self.client.add("/n-", b"", sequential=True))
            self.advance(0.02)
        self.first.coordinator.release(3)
        self.first.kill()
        self.advance(1)
        self.first.coordinator.release()
        names = [self.successResultOf(write).path for write in writes]
        self.assertEqual(names, [f"/n-{number:010d}" for number in range(1, 6)])
        self.assertEqual(len(self.now(self.client.list("/")).names), 5)

    def test_order(self) -> None:
        """What is sent again is sent in its order, reads among the writes."""
        self.open()
        self.first.coordinator.holding = True
        first, read = self.client.set("/a", b"1"), self.client.get("/a")
        second = self.client.set("/a", b"2")
        self.advance(0.1)
        self.first.kill()
        self.advance(1)
        self.assertLess(self.successResultOf(first).rev, self.successResultOf(second).rev)
        self.assertEqual(self.successResultOf(read).value, b"1")

    def test_many(self) -> None:
        """No more are under way than a server remembers."""
        self.open()
        self.first.coordinator.holding = True
        writes = [self.client.set(f"/a{number}", b"") for number in range(2000)]
        self.advance(0.1)
        sent = sum(len(group) for group, _, _ in self.first.coordinator.waiting)
        self.assertTrue(100 < sent <= 512, sent)
        self.first.kill()
        self.advance(3)
        self.assertEqual(len({self.successResultOf(write).rev for write in writes}), 2000)

    def test_word(self) -> None:
        """A write with a word of one's own can be asked for later."""
        written = self.now(self.client.set("/a", b"", word="mine"))
        self.assertEqual(self.now(self.client.outcome("mine")), written)
        self.assertEqual(self.now(self.client.set("/a", b"x", word="mine")), written)
        asked = self.client.outcome("other")
        self.advance(0)
        self.failureResultOf(asked, NoEntry)

    def test_session_lost(self) -> None:
        """Where the session is gone, too, nobody can know, and that is said."""
        session = self.open()
        self.first.coordinator.holding = True
        write = self.client.set("/a", b"")
        self.advance(0.1)
        self.store.apply(commands.Lapse((session.id or "",)), 0)
        self.first.kill()
        self.advance(1)
        self.failureResultOf(write, Unknown)
        self.assertEqual(session.state, "over")

    def test_once(self) -> None:
        """A client that wants it has a session from its first write on."""
        client = self.client_of(self.first, self.second, once=True)
        self.first.coordinator.holding = False
        self.now(client.ping())
        write = client.set("/a", b"")
        self.now(write)
        self.assertEqual(len(self.store.timeouts_ms), 1)
        self.first.coordinator.holding = True
        again = client.set("/b", b"")
        self.advance(0.1)
        self.first.drop()
        self.first.coordinator.holding = False
        self.assertEqual(self.within(1, again), Written(self.store.rev))
