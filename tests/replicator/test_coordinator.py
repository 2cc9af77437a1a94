"""What a front end may rely on: which read sees which write, and what an error means."""

from __future__ import annotations

from coord.commands import Blame, Caller, Get, Level, Once, Revert, Set, Stat, Sync
from coord.errors import Denied, NoEntry, RevisionMismatch, Unavailable, Unknown
from coord.paths import Glob
from coord.paxos.messages import Accept, Query
from coord.paxos.timing import Timing
from coord.replicator.tuning import Tuning
from coord.results import Entry, Point, Value, Written
from tests.replicator.case import Asked, Case


class Reads(Case):
    """Linearizable and local reads."""

    def sent(self, name: str, kind: type) -> int:
        """Return how many messages of a kind a node has sent."""
        return sum(isinstance(message, kind) for _, message in self.hub.links[name].sent)

    def test_at_the_leader(self) -> None:
        """A leader with a lease answers before the call returns."""
        self.found(3)
        read = self.submit(self.leader(), Get("/ctl"))
        self.assertTrue(read.is_answered)

    def test_elsewhere(self) -> None:
        """Any other node answers, too, and sees what was written through any node before."""
        self.found(3)
        one, other = self.followers()
        written = self.set(one, "/a", b"new")
        self.advance(0.1)
        self.assertTrue(written.is_answered)
        read = self.submit(other, Get("/a"))
        self.advance(0.1)
        self.assertEqual(read.results, [Value(self.base + 1, b"new")])

    def test_one_question(self) -> None:
        """A hundred reads on one node cost one question."""
        self.found(3)
        name = self.followers()[0]
        reads = [self.submit(name, Get("/ctl")) for _ in range(100)]
        self.advance(0.1)
        self.assertTrue(all(read.is_answered for read in reads))
        self.assertEqual(self.sent(name, Query), 1)

    def test_late_for_the_question(self) -> None:
        """A read that comes after the question was sent is not answered by it.

        1. n reads; its question is on the way.   2. Another node's write is answered.
        3. n reads again: this read must see the write, and the first answer may not.
        """
        self.found(3)
        name, other = self.followers()
        first = self.submit(name, Get("/a"))
        self.clock.advance(0)
        questions = list(self.hub.frames)
        self.hub.frames.clear()
        self.hub.deliver()
        for sender, to, frame in questions:
            self.nodes[to].replicator.received(sender, frame)
        answers = [one for one in self.hub.frames if one[1] == name]
        self.hub.frames.clear()
        self.hub.isolate(name)
        written = self.set(other, "/a", b"new")
        self.advance(0.1)
        self.assertEqual(written.results, [Written(self.base + 1)])
        self.hub.heal(name)
        late = self.submit(name, Get("/a"))
        for sender, to, frame in answers:
            self.nodes[to].replicator.received(sender, frame)
        self.advance(0.5)
        self.assertTrue(first.is_answered)
        self.assertEqual(late.results, [Value(self.base + 1, b"new")])

    def test_riding(self) -> None:
        """A read in a group with writes sees those before it, at no cost of its own."""
        self.found(3)
        name = self.followers()[0]
        one = self.submit(name, Set("/a", b"1"), Get("/a"), Set("/a", b"2"), Sync())
        self.advance(0.1)
        base = self.base
        self.assertEqual(
            one.results,
            [Written(base + 1), Value(base + 1, b"1"), Written(base + 2), Point(base + 2)],
        )
        self.assertEqual(self.sent(name, Query), 0)

    def test_local(self) -> None:
        """A local read is answered at once, also by a node that has lost its peers."""
        self.found(3)
        self.set("n1", "/a", b"x")
        self.advance(0.2)
        name = self.followers()[0]
        self.hub.isolate(name)
        self.advance(3.0)
        self.assertEqual(self.value(name, "/a"), Value(self.base + 1, b"x"))

    def test_cut_off(self) -> None:
        """A node without peers answers no linearizable read, the old leader least of all."""
        self.found(3)
        leader = self.leader()
        self.hub.isolate(leader)
        self.advance(1.0)
        read = self.submit(leader, Get("/a"))
        self.advance(self.tuning.request_seconds + 0.1)
        self.assertIsInstance(read.results[0], Unavailable)

    def test_no_leader_yet(self) -> None:
        """A read that finds no leader waits for one."""
        self.found(3)
        leader, (name, _) = self.leader(), self.followers()
        self.crash(leader)
        read = self.submit(name, Sync())
        self.advance(1.5)
        self.assertEqual(read.results, [Point(self.base)])


class Leaseless(Reads):
    """The same without leases, but for what a leader does at once."""

    tuning = Tuning(timing=Timing(leases=False))

    def test_at_the_leader(self) -> None:
        """A leader without leases asks a majority first."""
        self.found(3)
        read = self.submit(self.leader(), Get("/ctl"))
        self.assertFalse(read.is_answered)
        self.advance(0.1)
        self.assertTrue(read.is_answered)


class Fates(Case):
    """What an error says about a write."""

    def test_never_sent(self) -> None:
        """A write that never left the node is UNAVAILABLE, and never happens."""
        self.found(3)
        name = self.followers()[0]
        self.hub.isolate(name)
        self.advance(1.0)
        asked = self.set(name, "/a")
        self.advance(self.tuning.request_seconds + 0.1)
        self.assertIsInstance(asked.results[0], Unavailable)
        self.hub.heal(name)
        self.advance(2.0)
        self.assertEqual({self.rev(one) for one in self.nodes}, {self.base})

    def test_proposed(self) -> None:
        """A write that was proposed when the quorum went is UNKNOWN; it may happen later."""
        self.found(3)
        leader = self.leader()
        asked = self.set(leader, "/a")
        self.clock.advance(0)
        self.assertTrue(any(isinstance(one, Accept) for _, one in self.hub.links[leader].sent))
        for name in self.followers():
            self.hub.isolate(name)
        self.advance(self.tuning.request_seconds + 0.1)
        self.assertIsInstance(asked.results[0], Unknown)
        for name in tuple(self.hub.cut):
            self.hub.heal(name)
        self.advance(2.0)
        self.assertEqual({self.rev(one) for one in self.nodes}, {self.base + 1})
        self.assertEqual(len(asked.answers), 1)

    def test_behind_it(self) -> None:
        """What waits behind such a write is UNAVAILABLE where it was not sent itself."""
        self.found(3)
        leader = self.leader()
        for name in self.followers():
            self.hub.isolate(name)
        self.advance(1.5)
        asked = self.set(leader, "/b")
        self.advance(self.tuning.request_seconds + 0.1)
        self.assertIsInstance(asked.results[0], Unavailable)

    def test_heals(self) -> None:
        """A cluster that lost its quorum serves again when a node returns."""
        self.found(3)
        names = self.followers()
        for name in names:
            self.crash(name)
        self.advance(2.0)
        self.start(names[0])
        self.advance(2.0)
        asked = [self.set(name, "/a") for name in self.nodes]
        self.advance(0.2)
        self.assertEqual(len(asked), 2)
        self.assertTrue(all(isinstance(one.results[0], Written) for one in asked))


class Reverts(Case):
    """Setting back what a node held at a revision."""

    def setUp(self) -> None:
        """Begin with a node that was set three times."""
        super().setUp()
        self.found(3)
        for value in (b"1", b"2", b"3"):
            self.set("n1", "/a", value)
        self.advance(0.2)

    def test_value(self) -> None:
        """The node that is asked looks the value up; every node has it then."""
        asked = self.submit("n2", Revert("/a", self.base + 1))
        self.advance(0.2)
        self.assertEqual(asked.results, [Written(self.base + 4)])
        for name in self.nodes:
            self.assertEqual(self.value(name, "/a"), Value(self.base + 4, b"1"))

    def test_checked(self) -> None:
        """It is refused as any write is where the node has changed."""
        asked = self.submit("n2", Revert("/a", self.base + 1, if_rev=self.base + 2))
        self.advance(0.2)
        self.assertIsInstance(asked.results[0], RevisionMismatch)

    def test_among_others(self) -> None:
        """One that cannot be done is answered in its place; what stands beside it is done."""
        revert = Revert("/nothing", self.base + 1)
        later = Revert("/a", self.base + 100)
        asked = self.submit("n2", Set("/b", b"x"), revert, Get("/a"), later, Set("/c", b"x"))
        self.advance(0.2)
        kinds = [type(one) for one in asked.results]
        self.assertEqual(kinds, [Written, NoEntry, Value, Unavailable, Written])

    def test_nothing_else(self) -> None:
        """A group of which nothing can be done is answered at once."""
        asked = self.submit("n2", Revert("/nothing", 1))
        self.assertIsInstance(asked.results[0], NoEntry)

    def test_with_an_id(self) -> None:
        """It may have an id as every write; the second time it is answered, not done."""
        door = self.nodes["n2"].coordinator
        opening, _ = door.new_session(10_000)
        caller = Caller("ann", "", Level.WRITE, opening.session)
        first, again = Asked(), Asked()
        door.submit([opening, Once("w", Revert("/a", self.base + 1))], first, caller)
        self.advance(0.2)
        door.submit([Once("w", Revert("/a", self.base + 1))], again, caller)
        self.advance(0.2)
        self.assertEqual(first.results[1:], [Written(self.base + 4)])
        self.assertEqual(again.results, [Written(self.base + 4)])
        self.assertEqual(self.rev("n1"), self.base + 4)

    def test_with_an_id_too_late(self) -> None:
        """Asked again where history does not go back so far, it is answered as it was done."""
        door = self.nodes["n2"].coordinator
        opening, _ = door.new_session(10_000)
        caller = Caller("ann", "", Level.WRITE, opening.session)
        first, again, another = Asked(), Asked(), Asked()
        door.submit([opening, Once("w", Revert("/a", self.base + 1))], first, caller)
        self.advance(0.2)
        door.submit([Once("w", Revert("/a", 1))], again, caller)
        door.submit([Once("v", Revert("/a", 1))], another, caller)
        self.advance(0.2)
        self.assertEqual(again.results, first.results[1:])
        self.assertIsInstance(another.results[0], NoEntry)

    def test_with_an_id_unreadable(self) -> None:
        """An id is no way around the rules, and the refusal says what it is."""
        door = self.nodes["n2"].coordinator
        opening, _ = door.new_session(10_000)
        opened, asked = Asked(), Asked()
        door.submit([opening], opened, Caller("ann", "", Level.WRITE, opening.session))
        self.advance(0.2)
        caller = Caller("ann", "", Level.NONE, opening.session)
        door.submit([Once("w", Revert("/a", self.base + 1))], asked, caller)
        self.advance(0.2)
        self.assertIsInstance(asked.results[0], Denied)

    def test_unreadable(self) -> None:
        """Nobody sets back what they may not read."""
        asked = Asked()
        caller = Caller("ann", "", Level.NONE)
        self.nodes["n2"].coordinator.submit([Revert("/a", self.base + 1)], asked, caller)
        self.assertIsInstance(asked.results[0], Denied)


class Callers(Case):
    """Who asked stays with what was asked, wherever it is done."""

    def test_rights(self) -> None:
        """Rights are looked at for each caller of a batch, and for reads among writes."""
        self.found(3)
        answers = [Asked(), Asked()]
        reader, writer = Caller("ann", "", Level.READ), Caller("bob", "", Level.WRITE)
        door = self.nodes[self.followers()[0]].coordinator
        for caller, asked in zip((reader, writer), answers, strict=True):
            door.submit([Set("/a", caller.who.encode()), Get("/a")], asked, caller)
        self.advance(0.2)
        first, second = answers
        self.assertEqual([type(one) for one in first.results], [Denied, NoEntry])
        self.assertEqual([type(one) for one in second.results], [Written, Value])

    def test_authors(self) -> None:
        """Every node tells who changed what."""
        self.found(3)
        caller = Caller("ann", "10.0.0.7:1", Level.WRITE)
        self.nodes["n1"].coordinator.submit([Set("/a", b"x")], Asked(), caller)
        self.advance(0.2)
        for name in self.nodes:
            (entry,) = self.submit(name, Blame("/a", local=True)).results
            assert isinstance(entry, Entry)
            self.assertEqual((entry.author, entry.verb), ("ann@10.0.0.7:1", "SET"))


class Watching(Case):
    """Watches through the coordinator."""

    def test_on_every_node(self) -> None:
        """A watcher on any node is woken by a write through any other."""
        self.found(3)
        woken: list[str] = []
        for name, node in self.nodes.items():
            node.coordinator.watch(Glob.parse(b"/a"), None, lambda name=name: woken.append(name))  # type: ignore[misc]
        self.set(self.followers()[0], "/a")
        self.advance(0.2)
        self.assertEqual(sorted(woken), ["n1", "n2", "n3"])

    def test_stopped(self) -> None:
        """A node that takes part no more ends its watches and begins none; it shows itself."""
        self.found(3)
        leader, glob, woken = self.leader(), Glob.parse(b"/**"), []
        node = self.nodes[self.followers()[0]]
        watch = node.coordinator.watch(glob, None, lambda: woken.append(watch))
        node.replicator.faults.withdraw("removed from the cluster")
        self.assertEqual(woken, [])
        self.set(leader, "/a")
        self.advance(0.2)
        self.assertEqual((woken, watch.ready), ([watch], True))
        error = self.assertRaises(Unavailable, watch.take, 100)
        self.assertIn("this node has stopped serving: removed from the cluster", error.text)
        self.assertEqual((watch.ready, watch.take(100)), (False, []))
        for rev in (None, 0, self.base):
            self.assertRaises(Unavailable, node.coordinator.watch, glob, rev, lambda: None)
        self.assertIn("fault=removed from the cluster", node.coordinator.status().rows)
        self.assertEqual(len(node.coordinator.members().rows), 3)
        (found,) = self.submit(node.replicator.account.identity.node, Stat("/", local=True)).results
        self.assertNotIsInstance(found, Unavailable)

    def test_rev(self) -> None:
        """The coordinator knows its node's revision."""
        self.found()
        self.set("n1", "/a")
        self.advance(0.1)
        self.assertEqual(self.nodes["n1"].coordinator.rev, self.base + 1)
