"""Stories of sessions, each told with named nodes: who is cut off, who is killed, what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Level, Lock, OpenSession, Resume, Set
from coord.errors import CoordError, SessionExpired
from coord.events import SessionEvent
from coord.limits import EXPIRY_GRACE_SECONDS
from coord.replicator.interfaces import IAttachment
from coord.results import Granted, Opened, Written
from coord.simulation.cluster import Cluster, Options, SimulatedNode
from coord.simulation.disk import DiskMix
from coord.simulation.network import Mix
from coord.simulation.world import World

OPTIONS = Options(nodes=3, leases=True, image_every_bytes=1 << 30, network=Mix(), disk=DiskMix())
ELECTION_SECONDS = 1.5
"""A grant of a lost leader, an election or two, and the links that have to be made."""


class Story(SynchronousTestCase):
    """Three nodes in a world where nothing goes wrong but what is told."""

    def setUp(self) -> None:
        """Start the nodes and wait for a leader."""
        self.world = World(1)
        self.cluster = Cluster(self.world, OPTIONS)
        self.cluster.start()
        self.troubles: list[tuple[float, str]] = []
        self.go_on(2.0)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(until=self.world.now + seconds)

    def leader(self) -> SimulatedNode:
        """Return the node that leads."""
        (leader,) = [one for one in self.cluster.up() if one.facts()["role"] == "leader"]
        return leader

    def follower(self) -> SimulatedNode:
        """Return one that does not."""
        return next(one for one in self.cluster.up() if one.facts()["role"] == "follower")

    def ask(self, node: SimulatedNode, command: Any, caller: Caller | None = None) -> Any:
        """Ask a node, wait for the answer, and return it."""
        answers: list[Any] = []

        def answered(results: Sequence[Any]) -> None:
            answers.extend(results)

        caller = caller or Caller("teller", "", Level.ADMIN)
        submit = partial(node.coordinator.submit, [command], answered, caller)
        self.world.schedule(0.0, node.process, submit)
        self.go_on(0.5)
        (answer,) = answers
        return answer

    def open(self, node: SimulatedNode, timeout_seconds: float) -> tuple[Caller, str]:
        """Open a session there; return who asks in it, and its key."""
        opening, key = node.coordinator.new_session(int(timeout_seconds * 1000))
        assert isinstance(opening, OpenSession)
        caller = Caller("teller", "", Level.ADMIN, opening.session)
        self.assertIsInstance(self.ask(node, opening, caller), Opened)
        return caller, key

    def attach(self, node: SimulatedNode, caller: Caller) -> IAttachment:
        """Attach a connection to a session, and note its troubles."""

        def told(event: SessionEvent) -> None:
            self.troubles.append((self.world.now, event.kind.value))

        return node.coordinator.attach(caller.session, told, own=False)

    def talk(self, node: SimulatedNode, attachment: IAttachment) -> Callable[[], None]:
        """Let a client be heard of ten times a second; returns what silences it."""
        silent: list[bool] = []

        def say() -> None:
            if not silent:
                attachment.touch()
                self.world.schedule(0.1, node.process, say)

        self.world.schedule(0.0, node.process, say)
        return lambda: silent.append(True)

    def sessions(self, node: SimulatedNode) -> list[str]:
        """Return the sessions that a node knows."""
        return [one.session for one in node.coordinator.sessions()]

    def isolate_all(self) -> None:
        """Cut every wire."""
        for name in self.cluster.names:
            self.cluster.network.isolate(name)


class Quorum(Story):
    """Without a quorum no session expires."""

    def test_nobody_hears_anybody(self) -> None:
        """All wires are cut for ten timeouts: who went on talking has his session still."""
        node = self.follower()
        caller, _ = self.open(node, 1.0)
        self.talk(node, self.attach(node, caller))
        self.isolate_all()
        self.go_on(10.0)
        self.assertEqual(self.sessions(node), [caller.session])
        self.cluster.network.heal_all()
        self.go_on(5.0)
        for one in self.cluster.up():
            self.assertEqual(self.sessions(one), [caller.session])
        self.assertEqual([kind for _, kind in self.troubles], ["jeopardy", "safe"])

    def test_jeopardy_in_time(self) -> None:
        """Whose node is cut off is told within about half the timeout, long before the end."""
        node = self.follower()
        caller, _ = self.open(node, 3.0)
        self.talk(node, self.attach(node, caller))
        self.go_on(1.0)
        cut_at = self.world.now
        self.cluster.network.isolate(node.name)
        self.go_on(3.0)
        (told_at, kind), *_ = self.troubles
        self.assertEqual(kind, "jeopardy")
        self.assertLess(told_at - cut_at, 1.5)

    def test_silent_meanwhile(self) -> None:
        """Who fell silent while there was no quorum is gone soon after there is one again."""
        node = self.follower()
        caller, _ = self.open(node, 1.0)
        silence = self.talk(node, self.attach(node, caller))
        self.isolate_all()
        self.go_on(1.0)
        silence()
        self.go_on(9.0)
        self.cluster.network.heal_all()
        self.go_on(ELECTION_SECONDS + 1.0 + 2 * EXPIRY_GRACE_SECONDS)
        for one in self.cluster.up():
            self.assertEqual(self.sessions(one), [])


class Leaders(Story):
    """Leaders come and go; sessions stay with those who keep them."""

    def test_a_leader_is_killed(self) -> None:
        """The leader is killed again and again: who talks to another node has his session."""
        node = self.follower()
        caller, _ = self.open(node, 1.0)
        self.talk(node, self.attach(node, caller))
        for _ in range(5):
            leader = self.leader()
            if leader is node:
                break
            leader.crash()
            self.go_on(ELECTION_SECONDS)
            leader.start()
            self.go_on(0.5)
        self.assertEqual(self.sessions(node), [caller.session])

    def test_silent_over_leaders(self) -> None:
        """Who is silent is gone a timeout after the last leader began, not before."""
        node = self.follower()
        caller, _ = self.open(node, 2.0)
        self.go_on(1.0)
        leader = self.leader()
        leader.crash()
        began = self.world.now
        while caller.session in self.sessions(node):
            self.go_on(0.05)
            self.assertLess(self.world.now, began + ELECTION_SECONDS + 2.0 + 0.5)
        self.assertGreater(self.world.now, began + 2.0)

    def test_no_leader_for_the_dead(self) -> None:
        """A lock passes on when its holder's node is killed, and not before the timeout."""
        node, other = self.follower(), self.leader()
        holder, _ = self.open(node, 2.0)
        attachment = self.attach(node, holder)
        self.talk(node, attachment)
        waiter, _ = self.open(other, 60.0)
        granted = self.ask(node, Lock("/l", b"holder"), holder)
        assert isinstance(granted, Granted)
        self.ask(other, Lock("/l", b"waiter", wait_ms=60_000), waiter)
        told: list[tuple[float, Granted | CoordError]] = []
        other.coordinator.await_lock(
            "/l", waiter.session, lambda result: told.append((self.world.now, result))
        )
        kept_at: list[float] = []
        sent_at = self.world.now
        attachment.keep(lambda problem: kept_at.append(self.world.now))
        self.go_on(0.2)
        self.assertEqual(len(kept_at), 1)
        node.crash()
        self.go_on(4.0)
        ((granted_at, result),) = told
        assert isinstance(result, Granted)
        self.assertGreater(result.token, granted.token)
        self.assertGreater(granted_at, sent_at + 2.0)
        self.assertLess(granted_at, sent_at + 2.0 + 3 * EXPIRY_GRACE_SECONDS)


class Moves(Story):
    """A session is taken up on another node, with its key."""

    def test_node_killed(self) -> None:
        """The node of a client is killed; the client goes on elsewhere, and owns what it owned."""
        node, other = self.follower(), self.leader()
        caller, key = self.open(node, 2.0)
        self.assertIsInstance(self.ask(node, Set("/mine", b"v", ephemeral=True), caller), Written)
        node.crash()
        self.assertIsInstance(self.ask(other, Resume(caller.session, key), caller), Opened)
        self.talk(other, self.attach(other, caller))
        self.go_on(10.0)
        self.assertEqual(self.sessions(other), [caller.session])
        self.assertIsInstance(self.ask(other, Lock("/l"), caller), Granted)

    def test_too_late(self) -> None:
        """Who comes after the timeout is told that the session expired, and owns nothing."""
        node, other = self.follower(), self.leader()
        caller, key = self.open(node, 0.5)
        self.ask(node, Set("/mine", b"v", ephemeral=True), caller)
        self.go_on(2.0)
        self.assertIsInstance(self.ask(other, Resume(caller.session, key)), SessionExpired)
        self.assertIsInstance(self.ask(other, Lock("/l"), caller), SessionExpired)
        self.assertIsInstance(self.ask(other, Set("/mine", b"w", 0)), Written)
