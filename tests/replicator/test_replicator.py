"""The loop: effects in order, one batch a turn, answers after the step, faults."""

from __future__ import annotations

from functools import partial

from coord.commands import Get, Set
from coord.errors import Unavailable, Unknown
from coord.journal.memory import MemoryDisk
from coord.paths import Glob
from coord.paxos.durable import Save
from coord.paxos.messages import Accept, Accepted
from coord.replicator.sessions import Sessions
from coord.results import Value, Written
from coord.store.news import News
from coord.wire import peer as wire
from coord.wire.values import decode
from tests.replicator.case import Case


class Order(Case):
    """What the core wants is done in its order, and others are told when nothing changes."""

    def test_others_first(self) -> None:
        """A leader's proposal is on its way to the others' disks before its own disk is asked."""
        self.found(3)
        leader = self.leader()
        links, journal = self.hub.links[leader], self.journals[leader]
        save = journal.save

        def saving(one: Save) -> None:
            links.log.append("save")
            save(one)

        self.patch(journal, "save", saving)
        links.log.clear()
        self.set(leader, "/a")
        self.advance(0.005)
        wanted = [one for one in links.log if one in ("save", "Accept")]
        self.assertEqual(wanted, ["Accept", "Accept", "save"])

    def test_answer_after_save(self) -> None:
        """An acceptor answers only what is on its disk."""
        self.found(3)
        follower = self.followers()[0]
        journal, links = self.journals[follower], self.hub.links[follower]
        self.patch(journal, "flush", lambda: None)
        links.sent.clear()
        self.set(self.leader(), "/a")
        self.advance(0.1)
        self.assertNotIn(Accepted, [type(message) for _, message in links.sent])

    def test_no_answer_before_a_majority_saved(self) -> None:
        """A write is answered once a majority has it on disk, and not before."""
        self.found(3)
        leader = self.leader()
        flushes = [self.journals[name].flush for name in self.followers()]
        for name in self.followers():
            self.patch(self.journals[name], "flush", lambda: None)
        asked = self.set(leader, "/a")
        self.advance(0.1)
        self.assertFalse(asked.is_answered)
        flushes[0]()
        self.advance(0.1)
        self.assertEqual(asked.results, [Written(self.base + 1)])

    def test_nothing_inside_a_change(self) -> None:
        """Answers and watchers are called when the whole turn is done, never inside it."""
        self.found()
        node = self.nodes["n1"]
        seen: list[tuple[str, int]] = []
        rev = partial(getattr, node.coordinator, "rev")
        node.coordinator.watch(Glob.parse(b"/**"), None, lambda: seen.append(("watch", rev())))
        for number in range(3):
            answer = lambda results, number=number: seen.append((str(number), rev()))  # noqa: E731
            node.coordinator.submit([Set(f"/{number}", b"x")], answer)
        self.advance(0.1)
        self.assertEqual(seen, [(who, self.base + 3) for who in ("watch", "0", "1", "2")])

    def test_asking_inside_an_answer(self) -> None:
        """Who is answered may ask again at once."""
        self.found()
        done: list[object] = []
        submit = self.nodes["n1"].coordinator.submit
        submit([Set("/a", b"1")], lambda _: submit([Set("/a", b"2")], done.append))
        self.advance(0.1)
        self.assertEqual(done, [[Written(self.base + 2)]])

    def test_one_batch_a_turn(self) -> None:
        """All that is asked in one turn makes one batch, one proposal and one save a node."""
        self.found(3)
        leader = self.leader()
        self.hub.links[leader].sent.clear()
        asked = [self.set(leader, f"/{number}") for number in range(100)]
        self.advance(0.05)
        accepts = [one for _, one in self.hub.links[leader].sent if isinstance(one, Accept)]
        self.assertEqual(len(accepts), 2)
        self.assertEqual(
            [one.results for one in asked], [[Written(self.base + 1 + n)] for n in range(100)]
        )

    def test_writes_of_one_turn_keep_their_order(self) -> None:
        """Writes take effect in the order in which they were asked."""
        self.found()
        for number in range(10):
            self.set("n1", "/a", b"%d" % number)
        self.advance(0.1)
        self.assertEqual(self.value("n1", "/a"), Value(self.base + 10, b"9"))

    def test_one_flush_a_turn(self) -> None:
        """The links are written to once a turn, however much there was to send."""
        self.found(3)
        leader = self.leader()
        links = self.hub.links[leader]
        self.advance(0.005)
        before = links.flushes
        for number in range(50):
            self.set(leader, f"/{number}")
        self.clock.advance(0)
        # For the proposal, at the end of that turn, and when its own vote is saved.
        self.assertLessEqual(links.flushes - before, 3)


class Founding(Case):
    """The first write of a cluster is its own."""

    def test_alone_in_the_first_slot(self) -> None:
        """Nothing is proposed beside the founding write: it cannot be lost while others stay."""
        self.disks = {}
        self.found(3)
        for name in self.nodes:
            first = self.disks[name].votes[1].value
            assert isinstance(first, bytes)
            self.assertEqual(decode(first)[1].origin, "")

    def test_waits_for_it(self) -> None:
        """Writes that are asked before the cluster was founded come after."""
        self.disks = {name: MemoryDisk() for name in ("n1", "n2", "n3")}
        for name in tuple(self.disks):
            self.start(name)
        asked = [self.set(name, "/a") for name in self.nodes]
        self.advance(1.5)
        self.assertTrue(all(one.is_answered for one in asked))
        for links in self.hub.links.values():
            for _, accept in links.sent:
                if isinstance(accept, Accept) and accept.slot > 1:
                    self.assertGreaterEqual(accept.chosen, 1)


class Leaders(Case):
    """Leaders come and go; a request is done once."""

    def test_through_any_node(self) -> None:
        """A write is done whichever node was asked, and nobody is told who leads."""
        self.found(3)
        asked = [self.set(name, f"/{name}") for name in self.nodes]
        self.advance(0.1)
        results = [one.results[0] for one in asked]
        for number in range(1, 4):
            self.assertIn(Written(self.base + number), results)

    def test_leader_dies_with_it(self) -> None:
        """A write that was on its way to a leader that dies is handed to the next one."""
        self.found(3)
        leader, (asked_node, _) = self.leader(), self.followers()
        asked = self.set(asked_node, "/a")
        self.clock.advance(0)  # it is sent, and no further
        self.crash(leader)
        self.advance(2.0)
        self.assertEqual(asked.results, [Written(self.base + 1)])

    def test_answered_by_the_dead(self) -> None:
        """A write that was chosen when its leader died is not done a second time."""
        self.found(3)
        leader, (asked_node, other) = self.leader(), self.followers()
        asked = self.submit(asked_node, Set("/a", b"x"))
        self.clock.advance(0)
        self.hub.deliver()  # the leader has it
        self.clock.advance(0)  # and proposes it
        self.hub.deliver()  # to both
        self.clock.advance(0)
        self.crash(leader)
        self.advance(2.0)
        self.assertEqual(asked.results, [Written(self.base + 1)])
        self.advance(2.0)
        self.assertEqual({self.rev(asked_node), self.rev(other)}, {self.base + 1})

    def test_repeated_batch(self) -> None:
        """A batch that reaches the leader twice is done once, and costs one slot while it waits."""
        self.found(3)
        follower = self.followers()[0]
        slot = int(self.fact(follower, "slot"))
        self.set(follower, "/a")
        self.clock.advance(0)
        forwards = [one for one in self.hub.frames if isinstance(wire.decode(one[2]), wire.Forward)]
        self.assertEqual(len(forwards), 1)
        self.hub.frames.extend(forwards * 2)
        self.advance(0.5)
        self.assertEqual(int(self.fact(follower, "slot")), slot + 1)
        self.assertEqual({self.rev(name) for name in self.nodes}, {self.base + 1})

    def test_lost_on_the_way(self) -> None:
        """A batch that was lost on its way to the leader is sent again."""
        self.found(3)
        asked = self.set(self.followers()[0], "/a")
        self.clock.advance(0)
        self.hub.frames.clear()
        self.advance(1.0)
        self.assertEqual(asked.results, [Written(self.base + 1)])

    def test_overtaken(self) -> None:
        """A batch that overtook the one before it waits for it; both are done in order."""
        self.found(3)
        follower = self.followers()[0]
        first = self.set(follower, "/a", b"1")
        self.clock.advance(0)
        self.hub.frames.clear()  # the first is lost
        second = self.set(follower, "/a", b"2")
        self.advance(0.3)
        self.assertEqual(
            (first.results, second.results), ([Written(self.base + 1)], [Written(self.base + 2)])
        )

    def test_same_node_again(self) -> None:
        """A node that lost the lead and won it again proposes again what it had."""
        self.found(3)
        leader = self.leader()
        others = self.followers()
        asked = self.set(leader, "/a")
        self.clock.advance(0)
        self.hub.frames.clear()
        node = self.nodes[leader].replicator
        node._replica._elections.lead_no_more(node._replica.ballot)
        for name in others:
            self.nodes[name].replicator._replica._elections.patience._ends_at = 1e9
        self.advance(2.5)
        self.assertEqual(asked.results, [Written(self.base + 1)])

    def test_restart(self) -> None:
        """A node that was restarted has all it had, and serves."""
        self.found(3)
        self.set("n1", "/a", b"kept")
        self.advance(0.5)
        for name in tuple(self.nodes):
            self.crash(name)
        for name in tuple(self.disks):
            self.start(name)
        asked = self.submit("n2", Get("/a"))
        self.advance(2.0)
        self.assertEqual(asked.results, [Value(self.base + 1, b"kept")])
        self.set("n2", "/a", b"new")
        self.advance(0.5)
        self.assertEqual({self.fact(name, "digest") for name in self.nodes},
                         {self.fact("n1", "digest")})  # fmt: skip

    def test_restart_forgets_news(self) -> None:
        """What a log tells when it is replayed is not kept: there may be very much of it."""
        self.found()
        for _ in range(20):
            self.submit("n1", Set("/a", b"x", ttl_ms=60_000))
            self.advance(0.1)
        self.crash("n1")
        left: list[News] = []
        begin = Sessions.start

        def start(sessions: Sessions) -> None:
            left.extend(sessions._store.news())
            begin(sessions)

        self.patch(Sessions, "start", start)
        node = self.start("n1")
        self.assertGreater(node.replicator.store.rev, self.base + 10)
        self.assertEqual((left, len(node.replicator.sessions.spans)), ([], 1))


class Faults(Case):
    """What goes wrong stays where it is."""

    def test_disk(self) -> None:
        """A node whose disk fails answers no more writes, and says why."""
        self.found()
        queued = self.set("n1", "/a")
        watch = self.nodes["n1"].coordinator.watch(Glob.parse(b"/**"), None, lambda: None)
        self.journals["n1"].fail(OSError("no space"))
        self.flushLoggedErrors()
        self.advance(0.1)
        self.assertIsInstance(queued.results[0], Unavailable)
        self.assertIsInstance(self.set("n1", "/b").results[0], Unavailable)
        self.assertIsInstance(self.submit("n1", Get("/b")).results[0], Unavailable)
        self.assertRaises(Unavailable, watch.take, 1)
        self.assertIn("no space", self.fact("n1", "fault"))
        self.assertEqual(self.fact("n1", "quorum"), "no")

    def test_disk_under_way(self) -> None:
        """A write that was proposed when the disk failed has an open fate."""
        self.found()
        self.patch(self.journals["n1"], "flush", lambda: None)
        asked = self.set("n1", "/a")
        self.advance(0.1)
        self.assertFalse(asked.is_answered)
        self.journals["n1"].fail(OSError("no space"))
        self.flushLoggedErrors()
        self.advance(0.1)
        self.assertIsInstance(asked.results[0], Unknown)

    def test_others_go_on(self) -> None:
        """When the leader's disk fails the others elect another."""
        self.found(3)
        leader = self.leader()
        self.journals[leader].fail(OSError("no space"))
        self.flushLoggedErrors()
        self.advance(2.0)
        other = next(name for name in self.nodes if name != leader)
        asked = self.set(other, "/a")
        self.advance(0.5)
        self.assertEqual(asked.results, [Written(self.base + 1)])
        self.assertEqual(self.fact(leader, "leader"), "-")
        roles = sorted(self.fact(name, "role") for name in self.nodes)
        self.assertEqual(roles, ["candidate", "follower", "leader"])

    def test_broken_rule(self) -> None:
        """A node on which a rule is broken stops serving rather than answering wrongly."""
        self.found(3)
        follower = self.followers()[0]
        ballot = self.nodes[follower].replicator._replica.ballot
        slot = self.nodes[follower].replicator._replica.chosen + 1
        for value in (b"one", b"another"):
            frame = wire.encode(Accept(ballot, slot, (value,), 0))
            self.nodes[follower].replicator.received(ballot.node, frame)
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
        self.assertIn("one ballot, one slot, one value", self.fact(follower, "fault"))
        asked = self.set(follower, "/a")
        self.assertIsInstance(asked.results[0], Unavailable)

    def test_value_that_cannot_be_read(self) -> None:
        """A node that cannot read a chosen value goes no further; it does not pass over it."""
        self.found(3)
        leader = self.leader()
        replicator = self.nodes[leader].replicator
        replicator._obey(replicator._replica.propose(self.clock.seconds(), [b"junk"]))
        self.advance(3.0)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertIn("bug", self.fact(leader, "fault"))
        local = self.submit(leader, Get("/a", local=True))
        self.assertIsInstance(local.results[0], Unavailable)
        self.assertEqual({self.rev(name) for name in self.nodes}, {self.base})

    def lose_disk(self, restarts: int) -> None:
        """Let a node take a write, in a life after some restarts, then come back without it.

        That is told from what its batches say; here nobody judges who gets a link.
        """
        self.found(3)
        name = self.followers()[0]
        for _ in range(restarts):
            self.crash(name)
            self.start(name)
            self.advance(0.5)
        self.set(name, "/a", b"of a former life")
        self.advance(0.2)
        self.crash(name)
        self.disks[name] = MemoryDisk(self.disks[name].name)
        self.hub.is_strict = False
        self.start(name)
        asked = self.set(name, "/a", b"of this life")
        self.advance(4.0)
        self.assertIn("lost or set back", self.fact(name, "fault"))
        self.assertIsInstance(asked.results[0], Unavailable | Unknown)
        self.assertIsInstance(self.value(name, "/a"), Unavailable)

    def test_lost_disk(self) -> None:
        """A node whose disk was lost takes no part once it learns that it had another life."""
        self.lose_disk(restarts=1)

    def test_lost_disk_of_the_first_life(self) -> None:
        """So it is where it takes its own first life for the present one."""
        self.lose_disk(restarts=0)

    def test_junk_from_a_peer(self) -> None:
        """A frame that is no message is refused to the link, and changes nothing."""
        self.found(3)
        received = self.nodes["n1"].replicator.received
        for junk in (b"", b"\x00", b"\xc1" * 9, b"\x93\x09"):
            self.assertRaises(ValueError, received, "n2", junk)
        self.assertEqual(self.fact("n1", "fault"), "-")

    def test_front_end_fails(self) -> None:
        """A front end that fails to take its answer harms nobody else's."""
        self.found()
        node = self.nodes["n1"]

        def broken(*_: object) -> None:
            raise RuntimeError("a front end's own")

        node.coordinator.watch(Glob.parse(b"/**"), None, broken)
        node.coordinator.submit([Set("/a", b"x")], broken)
        asked = self.set("n1", "/b")
        flushes = self.hub.links["n1"].flushes
        self.advance(0.1)
        self.assertEqual(asked.results, [Written(self.base + 2)])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertGreater(self.hub.links["n1"].flushes, flushes)

    def test_stop(self) -> None:
        """A node that stops answers what waits, and leaves nothing to be called."""
        self.found(3)
        name = self.followers()[0]
        sent, read = self.set(name, "/a"), self.submit(name, Get("/a"))
        self.clock.advance(0)
        queued = self.set(name, "/b")
        for other in tuple(self.nodes):
            self.nodes[other].replicator.stop()
        self.assertIsInstance(sent.results[0], Unknown)
        self.assertIsInstance(queued.results[0], Unavailable)
        self.assertIsInstance(read.results[0], Unavailable)
        self.assertIsInstance(self.set(name, "/c").results[0], Unavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_room_that_goes(self) -> None:
        """A leader whose majority grows stale while it proposes loses nothing by it."""
        self.found(3)
        leader = self.leader()
        replicator = self.nodes[leader].replicator
        lease = self.tuning.timing.lease_seconds
        self.advance(0.005)
        start = self.clock.seconds()
        ticks = iter([start, *[start + lease + 0.1] * 50])
        asked = self.set(leader, "/a")
        assert replicator._turn_call is not None
        replicator._turn_call.cancel()
        self.patch(replicator, "now", lambda: next(ticks))
        replicator._turn()
        self.patch(replicator, "now", self.clock.seconds)
        replicator._wake()
        self.advance(0.5)
        self.assertEqual(self.fact(leader, "fault"), "-")
        self.assertEqual(asked.results, [Written(self.base + 1)])


class Telling(Case):
    """What a node tells of itself."""

    def test_members(self) -> None:
        """Members are told with their addresses, their part, and whether there is a link."""
        self.found(3)
        self.hub.isolate("n3")
        self.assertEqual(
            self.nodes["n1"].coordinator.members().rows,
            ("n1 n1:1 voter up", "n2 n2:1 voter up", "n3 n3:1 voter down"),
        )

    def test_status(self) -> None:
        """Status names the leader and the quorum as this node sees them."""
        self.found(3)
        leader = self.leader()
        self.assertEqual({self.fact(name, "leader") for name in self.nodes}, {leader})
        lonely = self.followers()[0]
        self.hub.isolate(lonely)
        self.advance(2.0)
        self.assertEqual(
            [self.fact(lonely, fact) for fact in ("role", "leader", "quorum")],
            ["candidate", "-", "no"],
        )

    def test_describe(self) -> None:
        """A node is described in one line."""
        self.found()
        line = self.nodes["n1"].replicator.describe()
        self.assertIn(f"n1 leader b=1.n1 chosen {self.first}", line)
        self.assertIn(f"applied {self.first}", line)
