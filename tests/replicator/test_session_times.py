"""Lifetimes, waits for locks and lock-delays on nodes that come and go."""

from __future__ import annotations

from coord.commands import Caller, EndSession, Level, Lock, Set, Unlock
from coord.errors import NoEntry, NotHeld, SessionExpired, TimedOut
from coord.results import Granted, Queued, Value, Written
from tests.replicator.session_case import Client, SessionCase


class Times(SessionCase):
    """Lifetimes, waits and lock-delays."""

    def setUp(self) -> None:
        """Begin with three nodes."""
        super().setUp()
        self.found(3)

    def test_lifetime(self) -> None:
        """A node with a ttl goes so long after its last SET, and not before."""
        self.submit("n1", Set("/a", b"x", ttl_ms=2000))
        self.advance(1.9)
        self.submit("n2", Set("/a", b"y"))
        self.advance(1.95)
        self.assertEqual(self.value("n3", "/a"), Value(self.base + 2, b"y"))
        self.advance(0.2)
        self.assertIsInstance(self.value("n3", "/a"), NoEntry)
        self.assertEqual(self.rev("n1"), self.base + 3)

    def test_lifetime_over_leaders(self) -> None:
        """Nor is it early, or forgotten, when leaders change."""
        leader = self.leader()
        self.submit(leader, Set("/a", b"x", ttl_ms=3000))
        self.advance(0.5)
        self.crash(leader)
        self.advance(2.4)
        self.assertIsInstance(self.value(self.leader(), "/a"), Value)
        self.advance(0.3)
        self.assertIsInstance(self.value(self.leader(), "/a"), NoEntry)

    def test_lifetime_over_restarts(self) -> None:
        """After a restart of all nodes it has its whole time once more."""
        self.submit("n1", Set("/a", b"x", ttl_ms=3000))
        self.advance(2.0)
        for name in list(self.nodes):
            self.crash(name)
        for name in self.disks:
            self.start(name)
        self.advance(2.5)
        self.assertIsInstance(self.value("n1", "/a"), Value)
        self.advance(1.5)
        self.assertIsInstance(self.value("n1", "/a"), NoEntry)

    def lock(self, client: Client, *, wait_ms: int = 0, delay_ms: int = 0) -> object:
        """Ask for ``/l``; return the answer."""
        asked = client.submit(Lock("/l", wait_ms=wait_ms, delay_ms=delay_ms))
        self.advance(0.1)
        return asked.results[0]

    def test_granted(self) -> None:
        """Who waits at another node hears of the lock when it is given up."""
        first, second = self.open("n1"), self.open("n2")
        self.assertIsInstance(self.lock(first), Granted)
        self.assertIsInstance(self.lock(second, wait_ms=5000), Queued)
        second.await_lock("/l")
        self.advance(1.0)
        self.assertEqual(second.locks, [])
        first.submit(Unlock("/l"))
        self.advance(0.1)
        self.assertEqual(second.locks, [Granted(self.rev("n1"))])
        self.advance(10.0)
        self.assertEqual(len(second.locks), 1)

    def test_granted_and_given_up(self) -> None:
        """Who gives up a lock that it has just been granted hears of that first."""
        first, second = self.open("n1"), self.open("n1")
        self.lock(first)
        self.lock(second, wait_ms=5000)
        told: list[object] = []
        coordinator = self.nodes["n1"].coordinator
        coordinator.await_lock("/l", second.session, lambda result: told.append(type(result)))
        caller = Caller("ann", "", Level.WRITE, second.session)
        first.submit(Unlock("/l"))
        coordinator.submit([Unlock("/l")], lambda results: told.extend(map(type, results)), caller)
        self.advance(0.1)
        self.assertEqual(told, [Granted, Written])

    def test_asked_late(self) -> None:
        """Who asks what became of its place long after that is told whether it holds the lock."""
        first, second = self.open("n1", own=True), self.open("n2", own=True)
        self.lock(first)
        self.lock(second, wait_ms=5000)
        first.submit(Unlock("/l"))
        self.advance(1.0)
        second.await_lock("/l")
        self.assertEqual(second.locks, [Granted(self.rev("n1"))])
        second.submit(Unlock("/l"))
        self.advance(0.1)
        second.await_lock("/l")
        self.assertEqual([type(one) for one in second.locks], [Granted, NotHeld])

    def test_waited_enough(self) -> None:
        """Who has waited for as long as it wanted to is told so, and not before."""
        first, second = self.open("n1", own=True), self.open("n2", own=True)
        self.lock(first)
        self.lock(second, wait_ms=2000)
        second.await_lock("/l")
        self.advance(1.85)
        self.assertEqual(second.locks, [])
        self.advance(0.3)
        self.assertEqual([type(one) for one in second.locks], [TimedOut])

    def test_lock_delay(self) -> None:
        """The lock of a lost holder is nobody's until its lock-delay is over."""
        first, second = self.open("n1"), self.open("n2", own=True)
        self.lock(first, delay_ms=2000)
        self.lock(second, wait_ms=60_000)
        second.await_lock("/l")
        self.submit("n3", EndSession(first.session))
        self.advance(1.95)
        self.assertEqual(second.locks, [])
        self.advance(0.3)
        self.assertEqual([type(one) for one in second.locks], [Granted])

    def test_session_of_a_waiter(self) -> None:
        """A place in the queue goes with its session."""
        first, second = self.open("n1", own=True), self.open("n2", 1.0)
        self.lock(first)
        self.lock(second, wait_ms=60_000)
        second.await_lock("/l")
        self.advance(2.0)
        self.assertEqual([type(one) for one in second.locks], [SessionExpired])
