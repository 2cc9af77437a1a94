"""What becomes of requests when servers die, refuse, or fall silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock as _Reactor
from twisted.python.failure import Failure

from coord import commands
from coord.client import Client, Closed, NoServer, Page
from coord.errors import NoEntry, Overloaded, Unavailable, Unknown
from coord.limits import CLIENT_REQUESTS_MAX, CLIENT_SILENCE_SECONDS
from coord.results import Written
from tests.client.case import ClientCase
from tests.client.wires import Server


def following(pages: AsyncIterator[Page]) -> Deferred[Page]:
    """Return the next page."""

    async def page() -> Page:
        return await anext(pages)

    return ensureDeferred(page())


class _Stranger(Protocol):
    """A server of something else."""

    transport: Any

    def connectionMade(self) -> None:
        """Greet."""
        self.transport.write(b"220 mail.example ESMTP\r\n")


class _Mumbler(Protocol):
    """A server that is never silent and never says anything."""

    transport: Any
    is_lost = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def connectionMade(self) -> None:
        """Say a letter, and another soon."""
        if not self.is_lost:
            self.transport.write(b"a")
            self.clock.callLater(1, self.connectionMade)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say no more."""
        self.is_lost = True


class Losses(ClientCase):
    """A server goes; another is there."""

    def test_lazy(self) -> None:
        """Nothing is dialled before something is asked."""
        self.advance(5)
        self.assertEqual(self.first.dialled, 0)
        self.assertIsNone(self.client.server)
        self.now(self.client.ping())
        self.assertEqual((self.first.dialled, self.second.dialled), (1, 0))

    def test_next_server(self) -> None:
        """Where the first server is down, the second is asked at once."""
        self.first.kill()
        self.now(self.client.set("/a", b""))
        self.assertEqual(len(self.second.connections), 1)

    def test_write_in_flight(self) -> None:
        """A write that was sent and not answered is Unknown at once, and is not sent again."""
        self.now(self.client.ping())
        self.first.coordinator.holding = True
        write = self.client.set("/a", b"")
        self.advance(0.1)
        self.first.drop()
        self.advance(0.1)
        self.failureResultOf(write, Unknown)
        read = self.client.get("/a")
        self.advance(1)
        self.failureResultOf(read, NoEntry)
        self.assertEqual(len(self.first.coordinator.waiting), 1)

    def test_change_of_members_in_flight(self) -> None:
        """A change of members that was sent and not answered is Unknown, and is not sent again."""
        client = self.client_of(self.first, self.second, once=True)
        self.first.coordinator.holding = True
        change, plan = (
            client.add_member("n4", "h:1"),
            client.plan(commands.ChangeMembers(commands.Deed.ADD, "n5", "h:2")),
        )
        self.advance(0.1)
        self.first.kill()
        self.advance(0.1)
        self.failureResultOf(change, Unknown)
        self.assertIn("n5", self.within(1, plan)[-1])
        self.assertEqual(len(self.first.coordinator.changes), 2)
        self.assertEqual(len(self.second.coordinator.changes), 1)

    def test_change_of_members_without_quorum(self) -> None:
        """A change of members that was certainly not made is asked of another server."""
        self.now(self.client.ping())
        self.first.coordinator.quorum = False
        self.within(1, self.client.add_member("n4", "h:1"))
        self.assertEqual(len(self.second.coordinator.changes), 1)

    def test_read_in_flight(self) -> None:
        """A read that was sent and not answered is asked elsewhere."""
        self.now(self.client.set("/a", b"1"))
        self.first.coordinator.holding = True
        get, walk, status = self.client.get("/a"), self.client.walk("/**"), self.client.status()
        self.first.kill()
        self.advance(1)
        self.assertEqual(self.successResultOf(get).value, b"1")
        self.assertEqual(len(self.successResultOf(walk).rows), 1)
        self.assertEqual(self.successResultOf(status)["node"], "n1")

    def test_unsent(self) -> None:
        """A write that was not sent yet goes to another server."""
        self.now(self.client.ping())
        write = self.client.set("/a", b"")
        for wire in self.first.connections:
            wire.far.protocol.connectionLost()  # before the turn in which it would be sent
        self.assertEqual(self.within(1, write), Written(1))

    def test_beyond_the_window(self) -> None:
        """Of many writes only those that were sent are Unknown; the others are done elsewhere."""
        self.now(self.client.ping())
        self.first.coordinator.holding = True
        extra = 10
        writes = [self.client.set("/a", b"") for _ in range(CLIENT_REQUESTS_MAX + extra)]
        self.advance(0.1)
        self.first.kill()
        self.advance(1)
        for write in writes[:CLIENT_REQUESTS_MAX]:
            self.failureResultOf(write, Unknown)
        revs = [self.successResultOf(write).rev for write in writes[CLIENT_REQUESTS_MAX:]]
        self.assertEqual(revs, [*range(1, extra + 1)])

    def test_frozen(self) -> None:
        """A server that falls silent is left within a few seconds."""
        self.now(self.client.ping())
        self.first.freeze()
        write, read = self.client.set("/a", b""), self.client.get("/b")
        read.addErrback(lambda failure: failure.type)
        self.advance(CLIENT_SILENCE_SECONDS + 1.2)
        self.failureResultOf(write, Unknown)
        self.assertIs(self.within(0.2, read), NoEntry)
        self.assertEqual(len(self.second.connections), 1)

    def test_frozen_at_the_door(self) -> None:
        """A server that accepts and says nothing is never relied on: nothing is sent to it."""
        self.first.freeze()
        write = self.client.set("/a", b"")
        self.advance(CLIENT_SILENCE_SECONDS + 1.2)
        self.assertEqual(self.successResultOf(write), Written(1))

    def test_many_frozen_at_the_door(self) -> None:
        """Those that say nothing leave time to ask the others, in the time that a request has."""
        silent = Server(self.clock, self.store)
        silent.freeze()
        self.first.freeze()
        client = self.client_of(silent, self.first, self.second, request_seconds=5.0)
        write = client.set("/a", b"")
        self.advance(4.0)
        self.assertEqual(self.successResultOf(write), Written(1))

    def test_mumbling_at_the_door(self) -> None:
        """A server that sends letters but never an answer is given up as soon as a silent one."""
        self.first.factory.buildProtocol = lambda _: _Mumbler(self.clock)
        write = self.client.set("/a", b"")
        self.advance(CLIENT_SILENCE_SECONDS + 1.2)
        self.assertEqual(self.successResultOf(write), Written(1))
        self.advance(1)

    def test_pages(self) -> None:
        """A walk in pages goes on at another server, at the same revision."""
        for number in range(10):
            self.now(self.client.set(f"/k/{number}", b""))
        pages = self.client.walk_pages("/k/*", page_rows=2)
        page = self.now(following(pages))
        names, rev = [row.path for row in page.rows], page.rev
        self.first.kill()
        self.store.apply(commands.Set("/k/5", b"new"), 0)
        while len(names) < 10:
            page = self.within(0.5, following(pages))
            self.assertEqual(page.rev, rev)
            names += [row.path for row in page.rows]
        self.assertEqual(names, [f"/k/{number}" for number in range(10)])

    def test_no_server(self) -> None:
        """Where no server can be reached a request says so once its time is over."""
        self.first.kill()
        self.second.kill()
        read, write = self.client.get("/a"), self.client.set("/a", b"")
        self.advance(9.9)
        self.assertNoResult(read)
        self.advance(0.2)
        self.assertIn("refused", str(self.failureResultOf(read, NoServer).value))
        self.failureResultOf(write, NoServer)

    def test_dialling_slows_down(self) -> None:
        """Servers that are down are tried ever less often, but at least once a second."""
        self.first.kill()
        self.second.kill()
        self.client.ping().addErrback(lambda _: None)
        self.advance(1)
        early = self.first.dialled
        self.advance(6)
        late = self.first.dialled - early
        self.assertTrue(3 <= early <= 7, early)
        self.assertTrue(6 <= late <= 13, late)

    def test_nothing_wanted(self) -> None:
        """Once nothing is wanted any more, no server is dialled."""
        self.first.kill()
        self.second.kill()
        self.client.ping().addErrback(lambda _: None)
        self.advance(12)
        dialled = self.first.dialled
        self.advance(10)
        self.assertEqual(self.first.dialled, dialled)

    def test_comes_back(self) -> None:
        """A request that waits is done as soon as a server is back."""
        self.first.kill()
        self.second.kill()
        write = self.client.set("/a", b"")
        self.advance(5)
        self.second.start()
        self.assertEqual(self.within(1.1, write), Written(1))


class Refusals(ClientCase):
    """A server says that it cannot."""

    def test_other_server(self) -> None:
        """What a server without a quorum refuses is asked of another."""
        self.first.coordinator.quorum = False
        write, read = self.client.set("/a", b"1"), self.client.sync()
        self.assertEqual(self.within(0.5, write), Written(1))
        self.successResultOf(read)
        self.assertEqual(len(self.first.connections), 0)

    def test_let_it_answer(self) -> None:
        """Leaving a server does not make those writes unknown that it can still answer."""
        self.now(self.client.ping())
        coordinator = self.first.coordinator
        coordinator.holding = True
        refused = self.client.set("/a", b"")
        self.advance(0.1)
        slow = self.client.set("/b", b"")
        self.advance(0.1)
        coordinator.waiting.pop(0)[1]([Unavailable("no quorum")])
        self.advance(0.5)
        self.assertEqual(self.successResultOf(refused), Written(1))
        self.assertEqual((len(self.first.connections), len(self.second.connections)), (1, 1))
        self.assertNoResult(slow)
        coordinator.release()
        self.advance(0.1)
        self.assertEqual(self.successResultOf(slow), Written(2))
        self.assertEqual(len(self.first.connections), 0)

    def test_refused_for_good(self) -> None:
        """Where nobody can, a request fails with what it was told last, once time is over."""
        for server in (self.first, self.second):
            server.coordinator.quorum = False
        write = self.client.set("/a", b"")
        self.advance(8)
        self.assertNoResult(write)
        self.advance(2.1)
        error = self.failureResultOf(write, Unavailable).value
        self.assertNotIsInstance(error, NoServer)
        self.assertEqual(self.store.rev, 0)

    def test_heals(self) -> None:
        """A single server that gets its quorum back does what it had refused."""
        client = self.client_of(self.first)
        self.first.coordinator.quorum = False
        write = client.set("/a", b"")
        self.advance(3)
        self.first.coordinator.quorum = True
        self.assertEqual(self.within(1.1, write), Written(1))
        self.assertEqual(self.first.dialled, 1)

    def test_too_many_connections(self) -> None:
        """A server that takes no more connections is passed over."""
        self.first.factory._connections_max = 0
        self.assertEqual(self.now(self.client.set("/a", b"")), Written(1))

    def test_overloaded(self) -> None:
        """What was refused for too much load is tried again on the same server."""
        self.now(self.client.ping())
        coordinator = self.first.coordinator
        coordinator.holding = True
        write = self.client.set("/a", b"")
        self.advance(0.1)
        coordinator.waiting.pop()[1]([Overloaded("full")])
        coordinator.holding = False
        self.assertEqual(self.within(0.2, write), Written(1))
        self.assertEqual(self.second.dialled, 0)

    def test_unknown(self) -> None:
        """A write that the server calls unknown is not tried again."""
        self.now(self.client.ping())
        self.first.coordinator.holding = True
        write = self.client.set("/a", b"")
        self.advance(0.1)
        self.first.coordinator.waiting.pop()[1]([Unknown("who knows")])
        self.advance(0.1)
        self.failureResultOf(write, Unknown)


class Patience(ClientCase):
    """A request has its time."""

    def test_overdue(self) -> None:
        """What is not answered in time is Unknown if it writes, Unavailable if it reads."""
        client = self.client_of(self.first, request_seconds=2)
        self.now(client.ping())
        self.first.coordinator.holding = True
        write, read = client.set("/a", b""), client.get("/a")
        self.advance(1.9)
        self.assertNoResult(write)
        self.advance(0.2)
        self.failureResultOf(write, Unknown)
        self.failureResultOf(read, Unavailable)
        self.first.coordinator.holding = False
        self.first.coordinator.release()
        self.assertEqual(self.now(client.set("/a", b"")), Written(2))

    def test_cancelled(self) -> None:
        """A request that is given up leaves those beside it as they are."""
        self.now(self.client.ping())
        self.first.coordinator.holding = True
        asked = [self.client.set("/a", b"") for _ in range(3)]
        self.advance(0.1)
        asked[1].cancel()
        self.failureResultOf(asked[1], CancelledError)
        self.first.coordinator.release()
        self.advance(0)
        self.assertEqual(self.successResultOf(asked[0]), Written(1))
        self.assertEqual(self.successResultOf(asked[2]), Written(3))

    def test_cancelled_before_it_is_sent(self) -> None:
        """A request that is given up before it was sent never is."""
        write = self.client.set("/a", b"")
        write.cancel()
        self.failureResultOf(write, CancelledError)
        self.now(self.client.ping())
        self.assertEqual(self.store.rev, 0)

    def test_closed(self) -> None:
        """Closing answers all: writes that were sent are unknown, all else was not done."""
        self.now(self.client.ping())
        self.first.coordinator.holding = True
        write, read = self.client.set("/a", b""), self.client.get("/a")
        self.advance(0.1)
        unsent = self.client.set("/b", b"")
        closed = self.client.close()
        self.failureResultOf(write, Unknown)
        self.failureResultOf(read, Closed)
        self.failureResultOf(unsent, Closed)
        self.now(closed)

    def test_closed_while_dialling(self) -> None:
        """A client can be closed before it has reached anyone."""
        self.first.freeze()
        write = self.client.set("/a", b"")
        self.advance(0.1)
        self.now(self.client.close())
        self.failureResultOf(write, Closed)

    def test_not_ours(self) -> None:
        """A server that speaks something else is passed over, and named where there is no other."""
        self.first.factory.buildProtocol = lambda _: _Stranger()
        self.assertEqual(self.now(self.client.set("/a", b"")), Written(1))
        client = self.client_of(self.first)
        read = client.get("/a")
        self.advance(10.1)
        self.assertIn("line protocol", str(self.failureResultOf(read, NoServer).value))

    def test_names(self) -> None:
        """Servers are named as people write them; what names none is refused at once."""
        for good in ("127.0.0.1:8046", "[::1]:8046", "db.example:1", "tcp:host=a:port=1"):
            Client(_Reactor(), [good])
        for bad in ("127.0.0.1", "a:0", "a:99999", "nonsense:x"):
            self.assertRaises((ValueError, TypeError), Client, _Reactor(), [bad])
        self.assertRaises(ValueError, Client, _Reactor(), "127.0.0.1:8046")
        self.assertRaises(ValueError, Client, _Reactor(), [])
