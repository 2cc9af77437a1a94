"""Sessions on nodes that come and go: kept, in jeopardy, and expired at one revision everywhere."""

from __future__ import annotations

from coord.commands import (
    Caller,
    EndSession,
    Get,
    Lapse,
    Level,
    Lock,
    Read,
    Resume,
    Set,
    Unlock,
    Write,
)
from coord.errors import (
    CoordError,
    Denied,
    NoEntry,
    SessionExpired,
    TimedOut,
    Unavailable,
)
from coord.events import SessionEvent, Trouble
from coord.limits import EXPIRY_GRACE_SECONDS
from coord.paxos.messages import Accept
from coord.paxos.timing import Timing
from coord.replicator.interfaces import IAttachment
from coord.replicator.replicator import Tuning
from coord.results import Granted, Opened, Queued, Value, Written
from coord.wire import peer as wire
from coord.wire import values
from coord.wire.peer import Renew, Renewed
from tests.replicator.case import Asked, Case

GRACE = EXPIRY_GRACE_SECONDS
LATE_SECONDS = 0.1
"""A tick, and a slot."""


class Client:
    """A connection to one node that has a session."""

    def __init__(self, case: SessionCase, name: str, session: str, *, own: bool = False) -> None:
        self.case = case
        self.name = name
        self.session = session
        self.events: list[SessionEvent] = []
        self.kept: list[CoordError | None] = []
        self.locks: list[Granted | CoordError] = []
        coordinator = case.nodes[name].coordinator
        self.attachment: IAttachment = coordinator.attach(session, self.events.append, own=own)

    @property
    def troubles(self) -> list[Trouble]:
        """What befell its session."""
        return [event.kind for event in self.events]

    def keep(self) -> None:
        """Ask that the session be kept."""
        self.attachment.keep(self.kept.append)

    def submit(self, *commands: object) -> Asked:
        """Ask for something as this session."""
        asked = Asked()
        caller = Caller("ann", "10.0.0.7:1", Level.WRITE, self.session)
        coordinator = self.case.nodes[self.name].coordinator
        coordinator.submit(commands, asked, caller)  # type: ignore[arg-type]
        return asked

    def await_lock(self, path: str) -> None:
        """Wait for its place in the queue."""
        coordinator = self.case.nodes[self.name].coordinator
        coordinator.await_lock(path, self.session, self.locks.append)


class SessionCase(Case):
    """Opens sessions, and looks at what goes between nodes."""

    def elect(self) -> None:
        """Wait until one of the linked nodes leads."""
        for _ in range(200):
            self.advance(0.02)
            linked = [name for name in self.nodes if name not in self.hub.cut]
            if "leader" in [self.fact(name, "role") for name in linked]:
                return
        self.fail("nobody leads")

    def open(self, name: str, seconds: float = 10.0, *, own: bool = False) -> Client:
        """Open a session at a node and attach a connection to it."""
        write, _ = self.nodes[name].coordinator.new_session(round(seconds * 1000))
        asked = self.submit(name, write)
        self.advance(0.1)
        self.assertEqual(asked.results, [Opened(write.session, write.timeout_ms)])
        return Client(self, name, write.session, own=own)

    def is_open(self, session: str, name: str = "") -> bool:
        """Say whether a session is open, as a node has it, or all those that are linked."""
        names = [name] if name else [one for one in self.nodes if one not in self.hub.cut]
        found = {session in self.nodes[one].replicator.store.timeouts_ms for one in names}
        self.assertEqual(len(found), 1, "nodes differ")
        return found.pop()

    def assert_ends(self, session: str, seconds: float) -> None:
        """Expect a session to be open for so long, and to be over a moment later."""
        self.advance(seconds - 2 * LATE_SECONDS)
        self.assertTrue(self.is_open(session), "early")
        self.advance(2 * LATE_SECONDS + GRACE + LATE_SECONDS)
        self.assertFalse(self.is_open(session), "late")

    def sent(self, name: str, kind: type) -> int:
        """Return how many messages of a kind a node has sent."""
        return sum(isinstance(message, kind) for _, message in self.hub.links[name].sent)


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


class Leaders(SessionCase):
    """When leaders change."""

    def setUp(self) -> None:
        """Begin with three nodes."""
        super().setUp()
        self.found(3)

    def test_full_timeout(self) -> None:
        """A new leader gives every session its full timeout from when it begins."""
        leader, (name, _) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        client.attachment.detach()
        self.advance(1.8)
        self.crash(leader)
        self.elect()
        self.assert_ends(client.session, 2.0)

    def test_kept_over(self) -> None:
        """A keep that was confirmed by the one holds with the other; nobody notices an election."""
        leader, (name, _) = self.leader(), self.followers()
        client, own = self.open(name, 4.0), self.open(name, 4.0, own=True)
        client.keep()
        self.advance(0.1)
        self.assertEqual(client.kept, [None])
        self.crash(leader)
        self.advance(3.8)
        self.assertTrue(self.is_open(client.session))
        self.advance(20.0)
        self.assertFalse(self.is_open(client.session))
        self.assertTrue(self.is_open(own.session))
        self.assertEqual(own.events, [])

    def test_keep_meanwhile(self) -> None:
        """A keep asked for while nobody leads is confirmed by the next leader."""
        leader, (name, _) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        self.crash(leader)
        client.keep()
        self.advance(0.2)
        self.assertEqual(client.kept, [])
        self.advance(1.5)
        self.assertEqual(client.kept, [None])

    def test_cut_off_leader(self) -> None:
        """A leader that was cut off confirms nothing and expires nothing; its clients are told."""
        leader = self.leader()
        client, own = self.open(leader, 4.0), self.open(leader, 4.0, own=True)
        self.advance(0.3)
        self.hub.isolate(leader)
        self.advance(0.7)
        client.keep()
        self.advance(1.2)
        self.assertEqual((client.troubles, own.troubles), ([Trouble.JEOPARDY], [Trouble.JEOPARDY]))
        self.advance(2.0)
        self.assertEqual([type(one) for one in client.kept], [Unavailable])
        self.advance(20.0)
        self.assertTrue(self.is_open(client.session, leader))
        self.assertFalse(self.is_open(client.session, self.leader()))
        self.hub.heal(leader)
        self.advance(1.0)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY, Trouble.EXPIRED])
        self.assertEqual(own.troubles, [Trouble.JEOPARDY, Trouble.EXPIRED])

    def test_safe_again(self) -> None:
        """Those whose node is back in time are told that they are safe, idle or not."""
        name = self.followers()[0]
        idle, own = self.open(name, 6.0), self.open(name, 6.0, own=True)
        self.advance(0.3)
        self.hub.isolate(name)
        self.advance(3.0)
        self.assertEqual((idle.troubles, own.troubles), ([Trouble.JEOPARDY], [Trouble.JEOPARDY]))
        self.hub.heal(name)
        self.advance(1.0)
        both = [Trouble.JEOPARDY, Trouble.SAFE]
        self.assertEqual((idle.troubles, own.troubles), (both, both))
        self.advance(10.0)
        self.assertEqual(idle.troubles, [*both, Trouble.EXPIRED])
        self.assertTrue(self.is_open(own.session))

    def test_no_quorum(self) -> None:
        """Without a quorum no session expires, however long that takes."""
        sessions = [self.open(name, 1.0).session for name in self.nodes]
        for name in self.nodes:
            self.hub.isolate(name)
        self.advance(30.0)
        self.assertTrue(all(self.is_open(sessions[0], name) for name in self.nodes))
        for name in self.nodes:
            self.hub.heal(name)
        self.elect()
        self.advance(0.8)
        self.assertTrue(all(map(self.is_open, sessions)))
        self.advance(1.0)
        self.assertFalse(any(map(self.is_open, sessions)))

    def test_link_lost(self) -> None:
        """What was told on a link that broke is told again on the next one."""
        name = self.followers()[0]
        client = self.open(name, 2.0)
        self.advance(0.5)
        client.keep()
        self.clock.advance(0)
        self.assertGreater(self.sent(name, Renew), 0)
        self.hub.isolate(name)
        self.hub.heal(name)
        self.advance(0.3)
        self.assertEqual(client.kept, [None])

    def test_follows_another(self) -> None:
        """A leader that hears of nobody but a keeper confirms no keep once its lease is over."""
        old, (name, other) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        self.advance(0.5)
        self.hub.isolate(other)
        for step in range(100):
            self.clock.advance(0.005)
            self.keep_only(Renew, Renewed)
            client.keep()
            self.hub.deliver()
            if step == 80:
                client.kept.clear()
        self.assertEqual(client.kept, [])
        self.assertGreater(self.sent(old, Renewed), 20)

    def keep_only(self, *kinds: type) -> None:
        """Lose the frames of all other kinds that are on their way."""
        for frame in list(self.hub.frames):
            if not isinstance(wire.decode(frame[2]), kinds):
                self.hub.frames.remove(frame)


class Doomed(SessionCase):
    """Between the proposal of an end and its being applied."""

    def setUp(self) -> None:
        """Begin with three nodes, and a session that its leader is about to let expire."""
        super().setUp()
        self.found(3)
        self.old, (self.one, self.other) = self.leader(), self.followers()
        self.client = self.open(self.one, 2.0)

    def until_proposed(self) -> None:
        """Wait until the leader has proposed the end; its messages are on their way."""
        for _ in range(1000):
            self.clock.advance(0.005)
            for _, _, frame in self.hub.frames:
                message = wire.decode(frame)
                if isinstance(message, Accept) and any(map(self.ends, message.values)):
                    return
            self.hub.deliver()
        self.fail("it does not expire")

    def ends(self, value: object) -> bool:
        """Say whether the value of a slot ends the session."""
        if not isinstance(value, bytes) or not value:
            return False
        commands = values.decode(value)[1].commands
        return any(
            isinstance(one, Lapse) and self.client.session in one.sessions for one in commands
        )

    def test_not_confirmed(self) -> None:
        """A keep that comes after the proposal is answered by the end, not confirmed."""
        self.until_proposed()
        self.client.keep()
        self.advance(0.3)
        self.assertEqual([type(one) for one in self.client.kept], [SessionExpired])
        self.assertEqual(self.client.troubles, [Trouble.EXPIRED])

    def test_found_by_the_next(self) -> None:
        """A proposal that one node voted for is found by the next leader, which confirms nothing
        before it is applied.
        """
        self.until_proposed()
        self.lose_to(self.other)
        self.hub.deliver()
        self.clock.advance(0.001)
        self.crash(self.old)
        self.client.keep()
        self.advance(2.5)
        self.assertEqual([type(one) for one in self.client.kept], [SessionExpired])
        self.assertFalse(self.is_open(self.client.session))

    def lose_to(self, name: str) -> None:
        """Lose what is on its way to a node."""
        for frame in [one for one in self.hub.frames if one[1] == name]:
            self.hub.frames.remove(frame)

    def test_lost_proposal(self) -> None:
        """A proposal that nobody voted for is nothing: the next leader gives the full timeout."""
        self.until_proposed()
        self.hub.frames.clear()
        self.crash(self.old)
        self.client.keep()
        self.elect()
        self.start(self.old)
        self.assert_ends(self.client.session, 2.0)
        self.assertEqual(self.client.kept, [None])

    def test_gives_up(self) -> None:
        """A leader that lost its quorum over a proposal gives up; whatever becomes of that, a keep
        is confirmed only of a session that lives on.
        """
        self.until_proposed()
        self.hub.frames.clear()
        for name in (self.one, self.other):
            self.hub.isolate(name)
        self.advance(2.0)
        self.assertEqual(self.fact(self.old, "quorum"), "no")
        for name in (self.one, self.other):
            self.hub.heal(name)
        self.client.keep()
        self.advance(1.5)
        is_kept = self.client.kept == [None]
        self.assertEqual(len(self.client.kept), 1)
        self.assertEqual(self.is_open(self.client.session), is_kept)


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
