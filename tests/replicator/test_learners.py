"""Nodes without a vote serve like the others, and are looked after like the others."""

from __future__ import annotations

from coord.commands import Deed, Get, Set
from coord.limits import COMPARE_SECONDS, DIGEST_SLOTS
from coord.paths import Glob
from coord.replicator.digests import DivergedError
from coord.results import Value, Written
from tests.replicator.damage import flip_in_memory
from tests.replicator.members_case import MembersCase
from tests.replicator.session_case import GRACE, SessionCase


class Observing(MembersCase, SessionCase):
    """Three voters and an observer."""

    def setUp(self) -> None:
        """Found a cluster, and let an observer knock."""
        super().setUp()
        self.found(3)
        self.join("n4", is_observer=True)
        self.advance(2.0)
        self.assertEqual(self.members()["n4"], "observer up")

    def test_reads(self) -> None:
        """What was written is read from it, the newest, too."""
        self.set("n1", "/a", b"1")
        self.advance(0.1)
        asked = self.submit("n4", Get("/a"))
        self.advance(0.1)
        self.assertIsInstance(asked.results[0], Value)

    def test_watches(self) -> None:
        """Its watches are told all changes, those of members among them."""
        woken: list[bool] = []
        watch = self.nodes["n4"].coordinator.watch(
            Glob.parse(b"/**"), None, lambda: woken.append(True)
        )
        self.set("n2", "/a")
        self.advance(0.2)
        self.join("n5")
        self.do(Deed.ADD, "n5", address="n5:1")
        self.assertEqual(
            [event.path for event in watch.take(10)],
            ["/a", "/ctl/members/n5", "/ctl/members/n5"],
        )

    def test_sessions(self) -> None:
        """A session that is kept there lives, and ends when it is kept no more."""
        client = self.open("n4", 2.0)
        for _ in range(6):
            self.advance(1.0)
            client.attachment.touch()
        self.assertTrue(self.is_open(client.session))
        self.advance(2.0 + GRACE + 0.5)
        self.assertFalse(self.is_open(client.session))

    def test_a_leader_goes(self) -> None:
        """It follows whoever leads; its writes are done once, and it never stands itself."""
        leader = self.leader()
        self.hub.isolate(leader)
        asked = self.submit("n4", Set("/a", b"x"))
        self.advance(2.0)
        self.assertIsInstance(asked.results[0], Written)
        self.assertEqual(self.fact("n4", "elections"), "0")

    def test_no_quorum(self) -> None:
        """It makes no majority where the voters are none."""
        for name in ("n2", "n3"):
            self.hub.isolate(name)
        self.advance(2.0)
        self.assertEqual(self.fact("n4", "quorum"), "no")
        asked = self.submit("n4", Set("/a", b"x"))
        self.advance(4.0)
        self.assertNotIsInstance(asked.results[0], Written)

    def test_differs(self) -> None:
        """Where its store turns out to differ from the voters' it stops, and they go on."""
        self.set("n1", "/precious", b"value")
        self.advance(0.1)
        flip_in_memory(self.nodes["n4"].replicator.store, "/precious")
        for number in range(DIGEST_SLOTS):
            self.set(self.leader(), f"/filler/{number % 7}")
            self.advance(0.01)
        self.advance(2 * COMPARE_SECONDS)
        self.flushLoggedErrors(DivergedError)
        self.assertIn("digest", self.fault("n4"))
        self.assertEqual({self.fault(name) for name in ("n1", "n2", "n3")}, {"-"})

    def test_removed(self) -> None:
        """Removed it stops, and does not knock again."""
        self.do(Deed.REMOVE, "n4")
        self.advance(3.0)
        self.assertIn("removed", self.fault("n4"))
        self.assertNotIn("n4", self.members())

    def test_told_why(self) -> None:
        """What the cluster refuses it says in its status: nothing happens in silence."""
        for name in ("n1", "n2", "n3"):
            self.hub.links[name].protocol = 4
        leader = self.leader()
        for name in self.followers():
            self.hub.isolate(name)
            self.hub.heal(name)
        self.join("n5", is_observer=True)
        self.advance(3.0)
        self.assertNotIn("n5", self.members(leader))
        self.assertIn("n5 is not a member", self.fault("n5"))
