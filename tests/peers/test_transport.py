"""Tests of `coord.peers.transport`: TLS links over wires in memory."""

from __future__ import annotations

import itertools

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs

from coord import limits
from coord.peers.link import Bounds
from coord.peers.transport import Transport
from coord.replicator.interfaces import IPeers
from tests.peers.contract import NODES, Ear, Judge, PeersContract
from tests.peers.nodes import ADDRESSES, NodesTestCase, warnings
from tests.peers.wires import Listening


class TransportContractTests(PeersContract, NodesTestCase):
    """Links over mutual TLS do what links have to do."""

    def setUp(self) -> None:
        """Start three nodes."""
        super().setUp()
        for name in reversed(NODES):
            self.successResultOf(self.make(name, judged=True).start())

    def node(self, name: str) -> tuple[IPeers, Ear]:
        """Return a node."""
        return self.nodes[name], self.ears[name]

    def judge(self, name: str) -> Judge:
        """Return a node's judge."""
        return self.judges[name]

    def where(self, *names: str) -> dict[str, str]:
        """Return addresses."""
        return {name: ADDRESSES[name] for name in names}

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on."""
        self.wires.pass_time(seconds)

    def sever(self, one: str, other: str) -> None:
        """Break the wires."""
        self.wires.sever(one, other)

    def heal(self, one: str, other: str) -> None:
        """Mend the wires."""
        self.wires.heal(one, other)


class WritingTests(NodesTestCase):
    """When frames leave, and what becomes of those that cannot."""

    def test_one_write_a_turn(self) -> None:
        """All frames of one turn leave in one write, at the end of the turn."""
        first, _ = self.start_pair()
        (end, _) = self.wires.live("n1", "n2")
        before = end.writes
        for turn in range(3):
            first.send("n2", b"frame %d" % turn)
        self.assertEqual(end.writes, before)
        self.clock.advance(0)
        self.assertEqual(end.writes, before + 1)
        self.wires.pump()
        self.assertEqual(len(self.ears["n2"].frames), 3)

    def test_flush(self) -> None:
        """What was queued leaves at once when the owner says so, and only once."""
        first, _ = self.start_pair()
        (end, _) = self.wires.live("n1", "n2")
        before = end.writes
        first.send("n2", b"frame")
        first.flush()
        self.assertEqual(end.writes, before + 1)
        first.send("n2", b"later")
        self.wires.pump()
        self.assertEqual(self.ears["n2"].frames, [("n1", b"frame"), ("n1", b"later")])

    def test_a_stopped_peer_costs_a_bounded_queue(self) -> None:
        """A peer that takes nothing fills a bounded queue; then frames are dropped, with a line."""
        first, _ = self.start_pair(Bounds(queue_bytes_max=1_000_000))
        self.wires.stall("n1", "n2")
        with capturedLogs() as events:
            for _ in range(200):
                first.send("n2", bytes(10_000))
                self.clock.advance(0)
        (end, _) = self.wires.live("n1", "n2")
        traffic = first.traffic()["n2"]
        self.assertEqual(traffic.frames_out + traffic.dropped, 200)
        self.assertGreater(traffic.frames_out, 90)
        self.assertLess(end.waiting_bytes, limits.PEER_WRITE_BYTES_SOFT)
        (line,) = warnings(events)
        self.assertIn("n2 takes nothing", line)

    def test_a_peer_that_goes_on_gets_what_was_queued(self) -> None:
        """What was not dropped arrives in order once the peer takes it, and the log says so."""
        first, _ = self.start_pair(Bounds(queue_bytes_max=1_000_000))
        self.wires.stall("n1", "n2")
        frames = [bytes((turn % 256,)) * 10_000 for turn in range(150)]
        for frame in frames:
            first.send("n2", frame)
            self.clock.advance(0)
        kept = first.traffic()["n2"].frames_out
        self.wires.heal("n1", "n2")
        with capturedLogs() as events:
            self.wires.pump()
            first.send("n2", b"after")
            self.wires.pump()
        got = [frame for _, frame in self.ears["n2"].frames]
        self.assertEqual(got, [*frames[:kept], b"after"])
        texts = [str(event["log_format"]) for event in events]
        self.assertEqual([text for text in texts if "takes all again" in text], texts)
        self.assertEqual(len(texts), 1)
        self.assertIn("queue=0B", first.describe()[0])

    def test_largest_frame(self) -> None:
        """The largest frame there may be arrives, though much longer than one write."""
        first, _ = self.start_pair()
        frame = bytes(limits.FRAME_BYTES_MAX)
        first.send("n2", frame)
        self.wires.pump()
        self.assertEqual(self.ears["n2"].frames, [("n1", frame)])

    def test_oversized_frame(self) -> None:
        """A frame above the receiver's limit closes the link, with a line in both logs."""
        peers = {name: ADDRESSES[name] for name in ("n1", "n2")}
        first = self.make("n1", peers=peers)
        self.start(first, self.make("n2", peers=peers, bounds=Bounds(frame_bytes_max=1000)))
        with capturedLogs() as events:
            first.send("n2", bytes(1001))
            self.wires.pump()
        theirs, ours = warnings(events)
        self.assertIn("lost the link with n1", theirs)
        self.assertIn("it sent a frame of 1001 bytes; at most 1000 are taken", theirs)
        self.assertIn("lost the link with n2", ours)
        self.assertIn("frame of 1001 bytes", ours)
        self.assertEqual(self.ears["n2"].frames, [])

    def test_unknown_peer(self) -> None:
        """A frame for a node that nobody named is dropped."""
        first, _ = self.start_pair()
        first.send("n9", b"frame")
        self.wires.pump()
        self.assertNotIn("n9", first.connected())

    def test_describe(self) -> None:
        """One line a peer tells all that is to be told of its link."""
        first, second = self.start_pair()
        first.send("n2", b"x" * 96)
        self.wires.pump()
        self.assertEqual(
            [first.describe(), second.describe()],
            [
                ["n2 dialled two:2 up i=1 v=5 queue=0B links=1 in=0/37B out=1/141B dropped=0"],
                ["n1 awaited one:1 up i=1 v=5 queue=0B links=1 in=1/141B out=0/37B dropped=0"],
            ],
        )
        self.wires.sever("n1", "n2")
        self.assertIn("two:2 down links=1", first.describe()[0])


class LivingTests(NodesTestCase):
    """Links end, and are made again."""

    def test_idle_links_stay(self) -> None:
        """Two nodes that have nothing to say to each other keep their link."""
        self.start_pair()
        self.wires.pass_time(60.0)
        for name, other in (("n1", "n2"), ("n2", "n1")):
            self.assertEqual(self.ears[name].story, [("up", other)])

    def test_silent_links_close(self) -> None:
        """A link on which nothing comes is closed after some seconds, with a line that says so."""
        first, _ = self.start_pair()
        self.wires.stall("n1", "n2")
        self.wires.pass_time(4.0)
        self.assertEqual(first.connected(), {"n2"})
        with capturedLogs() as events:
            self.wires.pass_time(3.0)
        self.assertEqual(self.ears["n1"].story, [("up", "n2"), ("down", "n2")])
        self.assertIn("nothing came from it for 5 s", warnings(events)[0])

    def test_restarted_node(self) -> None:
        """A node that comes back is linked again within a second or so."""
        _, second = self.start_pair()
        self.successResultOf(self.stopped(second))
        self.wires.pass_time(20.0)
        self.assertEqual(self.ears["n1"].links("n2"), ["up", "down"])
        peers = {"n1": ADDRESSES["n1"]}
        self.start(self.make("n2", incarnation=2, peers=peers))
        self.wires.pass_time(limits.REDIAL_SECONDS_MAX + 0.1)
        self.assertEqual(self.ears["n1"].links("n2"), ["up", "down", "up"])
        self.assertIn("up i=2", self.nodes["n1"].describe()[0])
        self.assertEqual(self.nodes["n1"].traffic()["n2"].links, 2)

    def stopped(self, node: Transport) -> Deferred[None]:
        """Stop a node and let its connections close."""
        stopping = node.stop()
        self.wires.pump()
        return stopping

    def test_new_link_replaces_the_old(self) -> None:
        """A dialler that restarted is taken at once, though its old link seems to be up."""
        self.start_pair()
        self.wires.stall("n1", "n2")
        old = self.nodes["n1"]
        self.wires.ends[0].over = True  # the old process is gone, and nobody was told
        peers = {"n2": ADDRESSES["n2"]}
        self.wires.heal("n1", "n2")
        new = self.make("n1", incarnation=2, peers=peers)
        self.start(new)
        self.assertIsNot(new, old)
        self.assertEqual(self.ears["n2"].links("n1"), ["up", "down", "up"])
        new.send("n2", b"from the new life")
        self.wires.pump()
        self.assertEqual(self.ears["n2"].frames, [("n1", b"from the new life")])

    def test_earlier_life_is_refused(self) -> None:
        """A node's link is not taken over by an earlier life of it."""
        peers = {name: ADDRESSES[name] for name in ("n1", "n2")}
        self.start(self.make("n1", peers=peers, incarnation=5), self.make("n2", peers=peers))
        with capturedLogs() as events:
            self.start(self.make("n1", peers=peers, incarnation=4))
        self.assertEqual(self.ears["n2"].story, [("up", "n1")])
        for line in warnings(events):
            self.assertIn("life 4 of n1 comes after life 5", line)
        self.assertEqual(len(warnings(events)), 2)

    def test_dialled_again_ever_more_slowly(self) -> None:
        """A peer that is away is dialled again and again, but not more than about once a second."""
        peers = {name: ADDRESSES[name] for name in ("n1", "n2")}
        tries: list[float] = []
        node = self.make("n1", peers=peers)
        connect = self.wires.connect

        def counted(*given: object) -> object:
            tries.append(self.clock.seconds())
            return connect(*given)  # type: ignore[arg-type]

        self.patch(self.wires, "connect", counted)
        self.start(node)
        self.wires.pass_time(30.0)
        waits = [later - sooner for sooner, later in itertools.pairwise(tries)]
        self.assertLess(waits[0], 0.1)
        self.assertLessEqual(max(waits), limits.REDIAL_SECONDS_MAX + 0.03)
        self.assertGreater(min(waits[6:]), limits.REDIAL_SECONDS_MAX / 2)

    def test_stop(self) -> None:
        """A node that stops sends what was queued, closes all, and hears nothing any more."""
        first, second = self.start_pair()
        first.send("n2", b"last words")
        self.successResultOf(self.stopped(first))
        self.assertEqual(self.ears["n2"].frames, [("n1", b"last words")])
        self.assertEqual(self.ears["n2"].links("n1"), ["up", "down"])
        self.assertEqual(self.ears["n1"].story, [("up", "n2")])
        self.assertEqual(self.wires.live("n1", "n2"), [])
        self.successResultOf(self.stopped(second))
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.active()], [])

    def test_stop_with_a_peer_that_hangs(self) -> None:
        """A node stops within a second or so, whatever its peers do."""
        first, _ = self.start_pair()
        self.wires.stall("n1", "n2")
        first.send("n2", bytes(1_000_000))
        stopping = first.stop()
        self.wires.pump()
        self.assertNoResult(stopping)
        self.wires.pass_time(limits.PARTING_SECONDS)
        self.successResultOf(stopping)

    def test_stop_without_links(self) -> None:
        """A node stops at once while it waits to dial again, and never dials after that."""
        node = self.make("n1")
        self.start(node)
        self.successResultOf(node.stop())
        self.wires.pass_time(5.0)
        self.assertEqual(self.wires.ends, [])

    def test_port_taken(self) -> None:
        """Where the port is taken the start fails, and no peer was dialled."""
        node = self.make("n1")
        self.patch(
            Listening, "listen", lambda *_: fail(CannotListenError("one", 1, OSError("taken")))
        )
        self.failureResultOf(node.start(), CannotListenError)
        self.wires.pass_time(5.0)
        self.assertEqual(self.wires.ends, [])

    def test_alone(self) -> None:
        """A node without peers needs no credentials, and has nothing to do."""
        node = Transport(
            self.clock,
            node="Only_One",
            cluster="cluster",
            incarnation=1,
            peers={},
            listen=None,
            credentials=None,
            dice=None,  # type: ignore[arg-type]  # there is nothing to throw them for
        )
        node.observe(Ear())
        self.successResultOf(node.start())
        self.assertEqual(node.connected(), frozenset())
        self.assertEqual(node.describe(), [])
        self.successResultOf(node.stop())
