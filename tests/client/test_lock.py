"""Locks of the client: granted in order, kept over servers, and lost before others hold them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from coord.client import Client, Lock
from coord.errors import (
    Aborted,
    Locked,
    NotHeld,
    Overloaded,
    SessionExpired,
    TimedOut,
    Unavailable,
)
from tests.client.test_session import SessionCase


class Locks(SessionCase):
    """One who holds a lock, and others who want it."""

    def setUp(self) -> None:
        """Start two clients."""
        super().setUp()
        self.rival = self.client_of(self.first, self.second)

    def holders(self, path: str = "/lock") -> tuple[str, ...]:
        """Return who holds a lock."""
        return self.now(self.rival.stat(path)).holders

    def waiting(self, client: Client, **options: Any) -> Deferred[Lock]:
        """Return what becomes of waiting for the lock."""
        waiting = client.lock("/lock", wait_seconds=None, **options)
        self.advance(0)
        self.assertNoResult(waiting)
        return waiting

    def test_held(self) -> None:
        """A lock has a token, and its node holds what its holder says."""
        lock = self.lock()
        self.assertTrue(lock.is_held)
        self.assertEqual(self.now(self.rival.get("/lock")).value, b"me")
        self.assertEqual(self.now(self.rival.stat("/lock")).token, lock.token)
        other = self.rival.lock("/lock")
        self.advance(0)
        self.failureResultOf(other, Locked)
        self.now(self.client.set("/lock", b"still me"))
        self.assertIn("held", lock.describe())

    def test_released(self) -> None:
        """A lock that is released goes to the next in line at once."""
        lock = self.lock()
        waiting = self.waiting(self.rival)
        lost = lock.lost()
        self.now(lock.release())
        self.assertGreater(self.successResultOf(waiting).token, lock.token)
        self.assertIsNone(self.successResultOf(lost))
        self.assertRaises(NotHeld, lock.check)
        self.now(lock.release())

    def test_context(self) -> None:
        """A lock as a context is held inside and released after it."""

        async def use() -> int:
            async with await self.client.lock("/lock") as lock:
                self.assertTrue(lock.is_held)
                return lock.token

        self.assertGreater(self.now(ensureDeferred(use())), 0)
        self.now(self.rival.lock("/lock"))

    def test_shared(self) -> None:
        """Those who share a lock hold it together."""
        mine = self.now(self.client.lock("/lock", shared=True))
        theirs = self.now(self.rival.lock("/lock", shared=True))
        self.assertTrue(mine.shared)
        self.assertNotEqual(mine.token, theirs.token)
        self.assertEqual(len(self.holders()), 2)

    def test_twice(self) -> None:
        """One client does not take one lock twice."""
        self.lock()
        again = self.client.lock("/lock")
        self.failureResultOf(again, Locked)

    def test_fenced(self) -> None:
        """A write bound to a token is done only while that lock is held."""
        lock = self.lock()

        def write() -> Deferred[Any]:
            fenced = self.rival.transaction().check("/lock", token=lock.token)
            return fenced.set("/jobs", b"1").get("/lock").commit()

        done = self.now(write())
        self.assertEqual([row.value for row in done.rows], [b"me"])
        self.now(lock.release())
        refused = write()
        self.advance(0)
        self.assertIn("1 NOT_HELD", self.failureResultOf(refused, Aborted).value.text)

    def test_wait_ends(self) -> None:
        """One who has waited long enough is told so, and has no place any more."""
        lock = self.lock()
        waiting = self.rival.lock("/lock", wait_seconds=5)
        self.advance(5)
        self.first.coordinator.lose_patience()
        self.advance(0)
        self.failureResultOf(waiting, TimedOut)
        self.now(lock.release())
        self.lock()

    def test_wait_ends_here(self) -> None:
        """Where no server says anything of it, the wait ends all the same, and the place goes."""
        lock = self.lock()
        waiting = self.rival.lock("/lock", wait_seconds=5)
        self.advance(15.1)
        self.failureResultOf(waiting, TimedOut)
        self.now(lock.release())
        self.lock()

    def test_given_up(self) -> None:
        """A place that is given up is passed over."""
        lock = self.lock()
        waiting = self.waiting(self.rival)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.advance(0)
        self.now(lock.release())
        self.now(self.client_of(self.first).lock("/lock"))

    def test_given_up_over_a_loss(self) -> None:
        """A lock that was given up while nobody knew whether it was granted does not stay."""
        self.open()
        self.first.coordinator.holding = True
        locking = self.client.lock("/lock", wait_seconds=None)
        self.advance(0.1)
        locking.cancel()
        self.failureResultOf(locking, CancelledError)
        self.first.kill()
        self.advance(1)
        self.first.coordinator.holding = False
        self.first.coordinator.release()
        self.advance(1)
        self.now(self.client_of(self.second).lock("/lock"))

    def test_next_server(self) -> None:
        """A lock, and a place in the queue, outlive the server."""
        lock = self.lock()
        waiting = self.waiting(self.rival, value=b"rival")
        lost = lock.lost()
        self.first.kill()
        self.advance(2)
        self.assertNoResult(lost)
        self.assertTrue(lock.is_held)
        self.assertNoResult(waiting)
        self.assertEqual(self.now(self.client.stat("/lock")).waiting, 1)
        self.now(lock.release())
        self.assertEqual(self.now(self.client.get("/lock")).value, b"rival")
        self.assertTrue(self.successResultOf(waiting).is_held)

    def test_granted_in_between(self) -> None:
        """A lock that was granted while no server was connected is told by the next."""
        lock = self.lock()
        rival = self.client_of(self.second, self.first)
        waiting = self.waiting(rival)
        self.second.kill()
        self.now(lock.release())
        self.advance(1)
        self.assertTrue(self.successResultOf(waiting).is_held)

    def test_lost_before_others(self) -> None:
        """Who can reach nobody hears of the loss before the lock can pass on."""
        lock = self.lock()
        waiting = self.waiting(self.client_of(self.second))
        lost = lock.lost()
        self.first.is_up = self.second.is_up = False
        for wire in self.first.connections:
            wire.cut(Exception())
        self.advance(9)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)
        self.assertNoResult(waiting)
        self.assertRaises(NotHeld, lock.check)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_expired(self) -> None:
        """Where the cluster says that the session is over, the lock is lost at once."""
        lock = self.lock()
        waiting = self.waiting(self.rival)
        lost = lock.lost()
        self.first.coordinator.expire(lock.session.id or "-")
        self.advance(0)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)
        self.assertTrue(self.successResultOf(waiting).is_held)
        self.now(lock.release())
        self.assertEqual(len(self.holders()), 1)

    def test_session_ended(self) -> None:
        """A session that is ended tells its locks before others can have them."""
        lock = self.lock()
        told: list[bool] = []
        lock.lost().addCallback(lambda _: told.append(self.holders_now() == lock.session.id))
        self.now(lock.session.end())
        self.assertEqual(told, [True])

    def holders_now(self) -> str:
        """Return who holds the lock in the store, without asking."""
        (row,) = self.store.locks()
        return row.holders[0].session

    def test_wait_and_lose(self) -> None:
        """Who waits learns that the place went with the session."""
        self.lock()
        waiting = self.waiting(self.rival)
        self.first.coordinator.expire(self.rival.session().id or "-")
        self.advance(0)
        self.failureResultOf(waiting, SessionExpired)

    def test_release_fails(self) -> None:
        """A lock that cannot be released now can be released later."""
        client = self.client_of(self.first)
        self.now(client.session(timeout_seconds=60).opened())
        lock = self.now(client.lock("/lock"))
        self.first.coordinator.quorum = False
        released, together = lock.release(), lock.release()
        self.assertFalse(lock.is_held)
        self.advance(10.1)
        self.failureResultOf(released, Unavailable)
        self.failureResultOf(together, Unavailable)
        self.first.coordinator.quorum = True
        self.now(lock.release())
        self.lock()

    def test_again_behind(self) -> None:
        """Who takes a lock again before it was given up for certain gets it for certain."""
        self.now(self.client.session(timeout_seconds=60).opened())
        lock = self.lock()
        coordinator = self.first.coordinator
        coordinator.holding = True
        released = lock.release()
        again = self.client.lock("/lock", wait_seconds=None)
        self.advance(0.1)
        coordinator.waiting.pop()[1]([Overloaded("full")])
        coordinator.holding = False
        self.advance(1)
        self.successResultOf(released)
        held = self.successResultOf(again)
        self.assertGreater(held.token, lock.token)
        self.assertEqual(self.holders_now(), held.session.id)

    def test_again_after_giving_up(self) -> None:
        """Who gives a place up and wants it again is not taken the lock away by the former."""
        self.now(self.client.session(timeout_seconds=60).opened())
        self.first.coordinator.holding = True
        locking = self.client.lock("/lock", wait_seconds=None)
        self.advance(0.1)
        locking.cancel()
        self.failureResultOf(locking, CancelledError)
        again = self.client.lock("/lock", wait_seconds=None)
        self.advance(0.1)
        self.first.kill()
        self.advance(2)
        self.first.coordinator.holding = False
        self.first.coordinator.release()
        self.advance(2)
        held = self.successResultOf(again)
        self.assertTrue(held.is_held)
        self.assertEqual(self.holders_now(), held.session.id)

    def test_session_lost_behind(self) -> None:
        """Who waits to take a lock again hears of it where the session is lost before that."""
        lock = self.lock()
        self.first.coordinator.holding = self.second.coordinator.holding = True
        released = lock.release()
        again = self.client.lock("/lock", wait_seconds=None)
        self.advance(0.1)
        self.first.kill()
        self.second.kill()
        self.advance(9)
        self.failureResultOf(again, SessionExpired)
        self.successResultOf(released)
        self.first.start()
        self.advance(3)
        self.assertNotIn("/lock", [row.path for row in self.store.locks() if row.queue])

    def test_released_after_the_session(self) -> None:
        """A lock whose session is over needs nothing more, and opens no other session."""
        lock = self.lock()
        self.now(lock.session.end())
        self.now(lock.release())
        self.advance(1)
        self.assertEqual(dict(self.store.timeouts_ms), {})

    def test_unlock(self) -> None:
        """A lock can be given up by its path; what one does not hold cannot."""
        lock = self.lock("/a")
        self.now(self.client.unlock("/a"))
        self.assertFalse(lock.is_held)
        again = self.client.unlock("/a")
        self.advance(0)
        self.failureResultOf(again, NotHeld)
