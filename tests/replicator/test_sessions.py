"""Sessions while all is well, in their thousands, and on a node alone."""

from __future__ import annotations

from coord.commands import Caller, EndSession, Get, Level, Lock, Read, Resume, Set, Write
from coord.errors import Denied, NoEntry, Unavailable
from coord.events import SessionEvent, Trouble
from coord.paxos.timing import Timing
from coord.replicator.tuning import Tuning
from coord.results import Opened, Value, Written
from coord.wire.peer import Renew, Renewed
from tests.replicator.case import Asked
from tests.replicator.session_case import Client, SessionCase


class Kept(SessionCase):
    """While all is well."""

    def setUp(self) -> None:
        """Begin with three nodes."""
        super().setUp()
        self.found(3)

    def test_own(self) -> None:
        """A connection's own session lives as long as that is there, on any node."""
        clients = [self.open(name, 2.0, own=True) for name in self.nodes]
        self.advance(60.0)
        self.assertTrue(all(self.is_open(client.session) for client in clients))
        self.assertEqual([client.events for client in clients], [[], [], []])

    def test_lasting(self) -> None:
        """A session that its client keeps ends its timeout after the client's last word."""
        client = self.open(self.followers()[0], 2.0)
        for _ in range(20):
            self.advance(1.0)
            client.attachment.touch()
        self.assert_ends(client.session, 2.0)
        self.assertEqual(client.troubles, [Trouble.EXPIRED])

    def test_detached(self) -> None:
        """It outlives its connection by its timeout, and is taken up at another node meanwhile."""
        one, other = self.followers()
        client = self.open(one, 2.0)
        client.attachment.detach()
        self.advance(1.5)
        again = Client(self, other, client.session)
        self.assert_ends(client.session, 2.0)
        self.assertEqual((client.events, again.troubles), ([], [Trouble.EXPIRED]))

    def test_expires_everywhere(self) -> None:
        """What it owns goes at one revision, the same on every node."""
        client = self.open("n1", 1.0)
        client.submit(Set("/a", b"x", ephemeral=True), Set("/b", b"x", ephemeral=True))
        self.advance(0.1)
        self.assertEqual(self.rev("n2"), self.base + 2)
        self.advance(3.0)
        self.assertEqual({self.rev(name) for name in self.nodes}, {self.base + 3})
        self.assertIsInstance(self.value("n3", "/a"), NoEntry)
        self.assertEqual(
            client.events, [SessionEvent(self.base + 3, Trouble.EXPIRED, client.session)]
        )
        self.assertEqual(len({self.fact(name, "digest") for name in self.nodes}), 1)

    def test_ended(self) -> None:
        """A session that is ended is over at once; who was attached is told."""
        client = self.open("n1")
        other = Client(self, "n2", client.session)
        asked = self.submit("n3", EndSession(client.session))
        self.advance(0.1)
        self.assertEqual(asked.results, [Written(self.base)])
        self.assertEqual((client.troubles, other.troubles), ([Trouble.EXPIRED], [Trouble.EXPIRED]))

    def test_keep(self) -> None:
        """A keep is confirmed at once where this node leads, and in one round trip elsewhere."""
        leader = self.open(self.leader())
        follower = self.open(self.followers()[0])
        self.advance(0.5)
        leader.keep()
        follower.keep()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((leader.kept, follower.kept), ([None], []))
        for _ in range(2):
            self.hub.deliver()
            self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(follower.kept, [None])

    def test_secrets(self) -> None:
        """Ids and keys are never the same, the log has a key's hash, and timeouts have bounds."""
        door = self.nodes["n1"].coordinator
        made = [door.new_session(10_000) for _ in range(100)]
        self.assertEqual(len({write.session for write, _ in made}), 100)
        self.assertEqual(len({key for _, key in made}), 100)
        write, key = made[0]
        self.assertRegex(write.session, "^[0-9a-f]{16}$")
        self.assertRegex(key, "^[0-9A-Za-z_-]{32}$")
        self.assertNotIn(key, repr(write))
        self.submit("n1", write)
        self.advance(0.1)
        right = self.submit("n2", Resume(write.session, key))
        wrong = self.submit("n2", Resume(write.session, made[1][1]))
        self.advance(0.1)
        self.assertEqual(right.results, [Opened(write.session, 10_000)])
        self.assertIsInstance(wrong.results[0], Denied)
        self.assertEqual(
            [door.new_session(one)[0].timeout_ms for one in (1, 10**12)], [500, 86_400_000]
        )


class Leaseless(Kept):
    """The same without leases: the leader asks a majority before it confirms."""

    tuning = Tuning(timing=Timing(leases=False))

    def test_keep(self) -> None:
        """A keep takes a round trip to a majority, and one more from elsewhere."""
        leader = self.open(self.leader())
        follower = self.open(self.followers()[0])
        self.advance(0.5)
        leader.keep()
        follower.keep()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((leader.kept, follower.kept), ([], []))
        self.advance(0.1)
        self.assertEqual((leader.kept, follower.kept), ([None], [None]))


class TenThousand(SessionCase):
    """What it costs to keep many."""

    def test_idle(self) -> None:
        """Ten thousand idle sessions take no slot, and ten messages a second."""
        self.found(3)
        name = self.followers()[0]
        door = self.nodes[name].coordinator
        clients = []
        for _ in range(10):
            writes = [door.new_session(10_000)[0] for _ in range(1000)]
            self.submit(name, *writes)
            self.advance(0.1)
            clients += [Client(self, name, write.session, own=True) for write in writes]
        self.assertEqual(self.fact("n1", "sessions"), "10000")
        slot, sent = self.fact(name, "slot"), self.sent(name, Renew)
        self.advance(60.0)
        self.assertEqual(self.fact("n1", "sessions"), "10000")
        self.assertEqual(self.fact(name, "slot"), slot)
        self.assertLessEqual(self.sent(name, Renew) - sent, 610)
        self.assertEqual(self.sent(self.leader(), Renewed), self.sent(name, Renew))
        self.assertFalse(any(client.events for client in clients))


class Nodes(SessionCase):
    """A node alone."""

    def test_alone(self) -> None:
        """A node alone keeps sessions and lets them expire."""
        self.found(1)
        client, own = self.open("n1", 1.0), self.open("n1", 1.0, own=True)
        client.keep()
        self.advance(0.1)
        self.assertEqual(client.kept, [None])
        self.advance(5.0)
        self.assertEqual((client.troubles, own.troubles), ([Trouble.EXPIRED], []))

    def test_stopped_for_a_while(self) -> None:
        """A node that was stopped for a minute does not expire those that it could not hear."""
        self.found(1)
        client = self.open("n1", 2.0)
        self.clock.advance(60.0)
        self.advance(1.0)
        client.attachment.touch()
        self.advance(1.9)
        self.assertTrue(self.is_open(client.session))
        self.advance(1.0)
        self.assertFalse(self.is_open(client.session))

    def test_restarted(self) -> None:
        """Sessions outlive a restart of all that there is, and have their full timeout then."""
        self.found(1)
        client = self.open("n1", 2.0)
        self.advance(1.5)
        self.crash("n1")
        self.advance(20.0)
        self.start("n1")
        self.advance(1.5)
        self.assertTrue(self.is_open(client.session))
        self.advance(2.0)
        self.assertFalse(self.is_open(client.session))

    def test_stop(self) -> None:
        """A node that stops answers those who wait for it."""
        self.found(1)
        client, holder = self.open("n1"), self.open("n1")
        holder.submit(Lock("/l"))
        client.submit(Lock("/l", wait_ms=60_000))
        self.advance(0.1)
        client.await_lock("/l")
        self.nodes["n1"].replicator.stop()
        self.assertEqual([type(one) for one in client.locks], [Unavailable])

    def test_status(self) -> None:
        """STATUS and the figures count sessions and locks."""
        self.found(1)
        client = self.open("n1", own=True)
        client.submit(Lock("/l"))
        self.advance(10.0)
        self.assertEqual((self.fact("n1", "sessions"), self.fact("n1", "locks")), ("1", "1"))
        figures = self.nodes["n1"].replicator.account.figures()
        counted = {name: figures[name] for name in ("sessions", "sessions_here", "locks", "lapses")}
        self.assertEqual(counted, {"sessions": 1, "sessions_here": 1, "locks": 1, "lapses": 0})
        self.assertGreaterEqual(figures["renews"], 2)
        self.assertEqual(figures["reads"], 0)
        (row,) = self.nodes["n1"].coordinator.sessions()
        self.assertEqual((row.session, row.locks), (client.session, ("/l",)))
        self.assertEqual([one.path for one in self.nodes["n1"].coordinator.locks()], ["/l"])

    def test_open_ends(self) -> None:
        """Opening makes no revision; a write that needs the session may follow at once."""
        self.found(1)
        write, _ = self.nodes["n1"].coordinator.new_session(10_000)
        asked = Asked()
        caller = Caller("ann", "", Level.WRITE, write.session)
        group: list[Write | Read] = [write, Set("/a", b"x", ephemeral=True), Get("/a")]
        self.nodes["n1"].coordinator.submit(group, asked, caller)
        self.advance(0.1)
        self.assertEqual(
            asked.results,
            [
                Opened(write.session, 10_000),
                Written(self.base + 1),
                Value(self.base + 1, b"x"),
            ],
        )
