"""Stores that differ: found, whatever made them differ, and only the one that is wrong stops."""

from __future__ import annotations

from coord.commands import Get, Set
from coord.errors import Unavailable
from coord.limits import COMPARE_SECONDS, DIGEST_SLOTS
from coord.paths import Glob
from coord.paxos.durable import Vote
from coord.replicator.digests import DivergedError, interval
from coord.replicator.tuning import Tuning
from coord.results import Value, Written
from coord.store.machine import Store
from coord.wire.peer import Digests
from tests.replicator.case import Case
from tests.replicator.damage import flip_in_image, flip_in_memory


class DigestsCase(Case):
    """Three nodes, one of which is damaged."""

    def write(self, count: int) -> None:
        """Have so many slots written."""
        for number in range(count):
            self.set(self.leader(), f"/filler/{number % 7}")
            self.advance(0.01)

    def stopped(self) -> list[str]:
        """Return the nodes that stopped because of their digests."""
        self.flushLoggedErrors(DivergedError)
        return [name for name in self.nodes if "digest" in self.fact(name, "fault")]

    def assert_serving(self, *names: str) -> None:
        """See that nodes take writes and read them."""
        for name in names:
            asked = self.set(name, f"/of/{name}", b"here")
            self.advance(0.5)
            self.assertIsInstance(asked.results[0], Written)
            self.assertIsInstance(self.value(name, f"/of/{name}"), Value)


class Memories(DigestsCase):
    """A bit that flips in a memory."""

    def damage(self, name: str) -> None:
        """Flip a bit of a value that nobody writes any more, then let the others write on."""
        self.set(self.leader(), "/precious", b"value")
        self.advance(0.1)
        flip_in_memory(self.nodes[name].replicator.store, "/precious")

    def test_inherited(self) -> None:
        """Stores that began under an older coord, whose digests differ anyway, stop nobody."""
        self.found(3)
        for node in self.nodes.values():
            node.replicator.store.inherit()
        self.damage(self.followers()[0])
        self.write(DIGEST_SLOTS)
        self.advance(2 * COMPARE_SECONDS)
        self.assertEqual(self.stopped(), [])
        self.assert_serving(*self.nodes)

    def test_follower(self) -> None:
        """A byte flipped in a follower's store: that node stops, and only that."""
        self.found(3)
        name = self.followers()[0]
        self.damage(name)
        self.write(DIGEST_SLOTS)
        self.advance(2 * COMPARE_SECONDS)
        self.assertEqual(self.stopped(), [name])
        self.assert_serving(*(other for other in self.nodes if other != name))

    def test_leader(self) -> None:
        """A byte flipped in the leader's store: it leads no more, and the others go on."""
        self.found(3)
        name = self.leader()
        self.damage(name)
        for number in range(DIGEST_SLOTS):
            self.set(name, f"/filler/{number % 7}")
            self.advance(0.01)
        self.advance(2 * COMPARE_SECONDS + 2.0)
        self.assertEqual(self.stopped(), [name])
        self.assertEqual(self.fact(name, "role"), "candidate")
        self.assert_serving(*(other for other in self.nodes if other != name))

    def test_what_the_stopped_one_does(self) -> None:
        """It answers nothing any more, says why in STATUS, and keeps what is known in a file."""
        self.found(3)
        name = self.followers()[0]
        self.damage(name)
        self.write(DIGEST_SLOTS)
        self.advance(2 * COMPARE_SECONDS)
        fault = self.fact(name, "fault")
        others = ", ".join(sorted(other for other in self.nodes if other != name))
        self.assertEqual(fault, f"digest differs from {others} at slot {DIGEST_SLOTS} (survey)")
        self.assertEqual(self.fact(name, "quorum"), "no")
        for command in (Get("/precious"), Get("/precious", local=True), Set("/a", b"1")):
            asked = self.submit(name, command)
            self.advance(0.1)
            self.assertIsInstance(asked.results[0], Unavailable)
        coordinator, glob = self.nodes[name].coordinator, Glob.parse(b"/**")
        self.assertRaises(Unavailable, coordinator.watch, glob, 1, lambda: None)
        self.assertRaises(Unavailable, coordinator.difference, glob, 1)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        ((file, text),) = self.reports[name].items()
        self.assertEqual(file, f"diverged-{DIGEST_SLOTS}.txt")
        for wanted in (fault, "DIFFERS since slot 256", "equal", name, "life 1", "Start the node"):
            self.assertIn(wanted, text)

    def test_restart(self) -> None:
        """Where only the memory was hit, the node is sound again once it is started again."""
        self.found(3)
        name = self.followers()[0]
        self.damage(name)
        self.write(DIGEST_SLOTS)
        self.advance(2 * COMPARE_SECONDS)
        self.assertEqual(self.stopped(), [name])
        self.crash(name)
        self.start(name)
        self.write(DIGEST_SLOTS)
        self.advance(5.0)
        self.assertEqual(self.stopped(), [])
        self.assert_serving(*self.nodes)

    def test_in_the_chain(self) -> None:
        """A flipped byte that has a say in what is decided is found within two seconds."""
        self.found(3)
        name = self.followers()[0]
        self.nodes[name].replicator.store._state.digest = bytes(16)
        self.write(3)
        self.advance(2 * COMPARE_SECONDS)
        self.assertEqual(self.stopped(), [name])
        self.assertIn("(chain)", self.fact(name, "fault"))

    def test_two_alone(self) -> None:
        """Of two that differ while the third is down, the leader stays, and does not serve."""
        self.found(3)
        leader, (name, lost) = self.leader(), self.followers()
        self.crash(lost)
        self.nodes[leader].replicator.store._state.digest = bytes(16)
        self.write(3)
        self.advance(5.0)
        self.assertEqual(self.stopped(), [name])
        self.assertEqual(self.fact(leader, "quorum"), "no")
        self.start(lost)
        self.advance(8.0)
        self.assertEqual(self.stopped(), [leader, name] if leader < name else [name, leader])
        self.crash(name)
        self.start(name)
        self.advance(3.0)
        self.assertEqual(self.stopped(), [leader])
        self.assert_serving(name, lost)


class Disks(DigestsCase):
    """Damage that every checksum on the disk is right about."""

    tuning = Tuning(image_every_bytes=4000, log_bytes_kept=1 << 20)

    def test_log(self) -> None:
        """A node that comes back with a damaged log is found as soon as it is linked."""
        self.found(3)
        name = self.followers()[0]
        self.set(name, "/precious", b"very precious")
        self.advance(0.1)
        self.crash(name)
        disk = self.disks[name]
        self.assertEqual(disk.image_slot, 0)
        for slot, vote in disk.votes.items():
            if isinstance(vote.value, bytes) and b"very precious" in vote.value:
                value = vote.value.replace(b"very precious", b"uery precious")
                disk.votes[slot] = Vote(slot, vote.ballot, value)
        self.start(name)
        self.advance(0.1)
        self.assertEqual(self.stopped(), [name])
        self.assertIn("(chain)", self.fact(name, "fault"))

    def test_image(self) -> None:
        """One that comes back with a damaged image is found at the next survey; again, too."""
        self.found(3)
        name = self.followers()[0]
        self.set(name, "/precious", b"very precious")
        self.advance(0.1)
        for number in range(20):
            self.set(name, f"/{number}", b"x" * 500)
            self.advance(0.05)
        self.crash(name)
        disk = self.disks[name]
        self.assertGreater(disk.image_slot, 0)
        disk.image = flip_in_image(disk.image, "/precious")
        self.start(name)
        found = self.value(name, "/precious")
        assert isinstance(found, Value)
        self.assertEqual(found.value, b"wery precious")
        for _ in range(2):
            self.write(DIGEST_SLOTS)
            self.advance(2 * COMPARE_SECONDS)
            self.assertEqual(self.stopped(), [name])
            self.assertIn("(survey)", self.fact(name, "fault"))
            self.crash(name)
            self.start(name)

    def test_nothing_is_trimmed(self) -> None:
        """The journal of a node that has stopped is left as it is."""
        self.found(3)
        name = self.followers()[0]
        flip_of = self.nodes[name].replicator.store._state
        flip_of.digest = bytes(16)
        self.write(3)
        self.advance(2 * COMPARE_SECONDS)
        self.assertEqual(self.stopped(), [name])
        disk = self.disks[name]
        before = (disk.image_slot, disk.image, dict(disk.votes))
        self.write(100)
        self.advance(5.0)
        self.assertEqual((disk.image_slot, disk.image, dict(disk.votes)), before)


class Peace(DigestsCase):
    """What it costs where nothing is wrong."""

    def said(self) -> int:
        """Return how often anybody told a digest."""
        return sum(
            isinstance(message, Digests)
            for links in self.hub.links.values()
            for _, message in links.sent
        )

    def test_idle(self) -> None:
        """In a cluster in which nobody writes, nothing is told, not in an hour."""
        self.found(3)
        self.write(10)
        self.advance(2 * COMPARE_SECONDS)
        for links in self.hub.links.values():
            links.sent.clear()
        for replicator in (node.replicator for node in self.nodes.values()):
            for tick in range(3600 * 50):
                replicator.digests.tick(self.clock.seconds() + tick / 50)
        self.assertEqual(self.said(), 0)

    def test_busy(self) -> None:
        """While there are writes each tells each other once a second, and compares."""
        self.found(3)
        for links in self.hub.links.values():
            links.sent.clear()
        before = {name: node.replicator.digests.compared for name, node in self.nodes.items()}
        self.write(1000)
        seconds = 10
        self.assertTrue(6 * (seconds - 1) <= self.said() <= 6 * (seconds + 2), self.said())
        for name, node in self.nodes.items():
            compared = node.replicator.digests.compared - before[name]
            self.assertGreater(compared, seconds, name)
            self.assertGreaterEqual(node.replicator.digests.surveys, 3)
        self.assertEqual(self.stopped(), [])

    def test_histories_differ(self) -> None:
        """How much history a node keeps makes no difference."""
        self.disks = {}
        self.found(3)
        name = self.followers()[0]
        self.crash(name)
        self.tuning = Tuning(history_revisions=20)
        self.start(name)
        self.write(DIGEST_SLOTS * 2)
        self.advance(5.0)
        self.assertEqual(self.stopped(), [])
        surveyed = self.nodes[name].replicator.digests.survey
        self.assertGreaterEqual(surveyed.compared, 2)

    def test_alone(self) -> None:
        """A node without others surveys nothing."""
        self.found(1)
        self.write(DIGEST_SLOTS * 2)
        self.assertEqual(self.nodes["n1"].replicator.digests.surveys, 0)

    def test_interval(self) -> None:
        """The larger the store, the rarer the surveys."""
        store = Store()
        self.assertEqual(interval(store), DIGEST_SLOTS)
        for number in range(DIGEST_SLOTS * 8 * 3):
            store.apply(Set(f"/{number}", b""), 1)
        store.seal()
        self.assertEqual(interval(store), DIGEST_SLOTS * 4)

    def test_given_up(self) -> None:
        """A survey that history has left behind says nothing."""
        self.found(3)
        self.tuning = Tuning(history_revisions=3)
        name = self.followers()[0]
        self.crash(name)
        self.start(name)
        digests = self.nodes[name].replicator.digests
        self.patch(digests, "_go_on", lambda surveying: None)
        self.write(DIGEST_SLOTS)
        self.assertIsNotNone(digests._surveying)
        del digests._go_on
        self.write(5)
        self.advance(1.0)
        self.assertIsNone(digests._surveying)
        self.assertEqual((digests.surveys, self.stopped()), (0, []))

    def test_traced(self) -> None:
        """Who traces a node sees what is told, among the beats."""
        self.found(3)
        trace = self.nodes["n1"].replicator.traces.open(lambda: None, beats=True)
        self.write(3)
        self.advance(2 * COMPARE_SECONDS)
        lines = trace.take(1000)
        self.assertTrue([line for line in lines if "Digests of slots" in line])
