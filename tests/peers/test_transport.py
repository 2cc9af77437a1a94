"""Tests of `coord.peers.transport`: TLS links over wires in memory."""

from __future__ import annotations

import itertools

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from coord import limits
from coord.node.authority import create_authority
from coord.paxos.messages import Query
from coord.peers import transport
from coord.peers.identity import CredentialsError
from coord.peers.link import Bounds
from coord.peers.transport import Transport
from coord.replicator.interfaces import IPeers
from coord.wire.peer import PROTOCOL, Hello
from tests.peers.contract import JUNK, NODES, Ear, PeersContract
from tests.peers.nodes import ADDRESSES, NodesTestCase, warnings
from tests.peers.wires import Listening


class TransportContractTests(PeersContract, NodesTestCase):
    """Links over mutual TLS do what links have to do."""

    def setUp(self) -> None:
        """Start three nodes."""
        super().setUp()
        for name in reversed(NODES):
            self.successResultOf(self.make(name).start())

    def node(self, name: str) -> tuple[IPeers, Ear]:
        """Return a node."""
        return self.nodes[name], self.ears[name]

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
                ["n2 dialled two:2 up i=1 queue=0B links=1 in=0/27B out=1/127B dropped=0"],
                ["n1 awaited one:1 up i=1 queue=0B links=1 in=1/127B out=0/27B dropped=0"],
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


class Stranger(Protocol):
    """Somebody on the peer port who is no node."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.over = False

    def connectionMade(self) -> None:
        """Say what there is to say."""
        assert self.transport is not None
        if self.words:
            self.transport.write(self.words)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that it was shown the door."""
        self.over = True


class RefusalTests(NodesTestCase):
    """Who is no peer gets no link, and both logs say why, once."""

    PAIR = {name: ADDRESSES[name] for name in ("n1", "n2")}

    def refusal(self, *nodes: Transport) -> tuple[str, str]:
        """Start two nodes that do not link; return the lines of n1 and n2, one each."""
        with capturedLogs() as events:
            self.start(*nodes)
            self.wires.pass_time(30.0)
        for node in nodes:
            self.assertEqual(node.connected(), frozenset())
        lines = warnings(events)
        self.assertEqual(len(lines), 2, lines)
        (dialler,) = [line for line in lines if "(two:2)" in line]
        (listener,) = [line for line in lines if "(two:2)" not in line]
        return dialler, listener

    def visit(self, host: str, words: bytes) -> Stranger:
        """Let somebody come to n2's peer port."""
        stranger = Stranger(words)
        self.wires.connect(host, ADDRESSES["n2"], Factory.forProtocol(lambda: stranger))
        return stranger

    def test_other_cluster(self) -> None:
        """Nodes of two clusters do not link."""
        for line in self.refusal(
            self.make("n1", peers=self.PAIR, cluster="red"),
            self.make("n2", peers=self.PAIR, cluster="blue"),
        ):
            self.assertIn("n1 is of cluster 'red', n2 of 'blue'", line)

    def test_other_version(self) -> None:
        """Nodes that speak different versions do not link."""
        first = self.make("n1", peers=self.PAIR)
        self.patch(first, "greeting", lambda to: Hello(PROTOCOL + 1, "cluster", "n1", to, 1))
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn("n1 speaks version 2 of the peers' protocol, n2 version 1", line)
            self.assertIn("run the same release", line)

    def test_old_listener(self) -> None:
        """A listener of another version whose Hello comes back is refused by the dialler."""
        second = self.make("n2", peers=self.PAIR)
        answers = {"n1": Hello(0, "cluster", "n2", "n1", 1)}
        self.patch(second, "admit", lambda link, hello: second._peers["n1"].traffic)
        self.patch(second, "greeting", answers.__getitem__)
        with capturedLogs() as events:
            self.start(self.make("n1", peers=self.PAIR), second)
        ours, theirs = warnings(events)
        self.assertIn("no link with n2 (two:2): n2 speaks version 0", ours)
        self.assertIn("lost the link with n1", theirs)
        self.assertIn("n2 speaks version 0", theirs)

    def test_unknown_node(self) -> None:
        """A node that nobody named as a peer is refused, though its certificate is good."""
        second = self.make("n2", peers={"n3": ADDRESSES["n3"]})
        with capturedLogs() as events:
            self.start(self.make("n1", peers=self.PAIR), second)
        lines = [line for line in warnings(events) if "(three:3)" not in line]
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertIn("n1 is not a peer of n2; name it with --peer n1=HOST:PORT", line)

    def test_wrong_address(self) -> None:
        """A dialler does not take one node for another: the certificate counts."""
        first = self.make("n1", peers={"n2": ADDRESSES["n3"]})
        with capturedLogs() as events:
            self.start(first, self.make("n3", peers={"n1": ADDRESSES["n1"]}))
            self.wires.pass_time(10.0)
        ours, theirs = sorted(warnings(events), key=lambda line: "(three:3)" not in line)
        self.assertIn("the certificate there is of n3, not of n2", ours)
        self.assertIn("no link with n1.test", theirs)
        self.assertIn("the certificate there is of n3, not of n2", theirs)
        self.assertEqual(first.connected(), frozenset())

    def test_false_name(self) -> None:
        """A listener does not take a node for the one it claims to be."""
        thief = self.make("n1", peers=self.PAIR)
        self.patch(thief, "greeting", lambda to: Hello(PROTOCOL, "cluster", "n0", to, 1))
        second = self.make("n2", peers={**self.PAIR, "n0": "zero:0"})
        with capturedLogs() as events:
            self.start(thief, second)
        lines = [line for line in warnings(events) if "zero" not in line]
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertIn("the certificate there is of n1, not of n0", line)
        self.assertEqual(second.connected(), frozenset())

    def test_meant_for_another(self) -> None:
        """A node refuses a Hello that was meant for another one."""
        first = self.make("n1", peers=self.PAIR)
        self.patch(first, "greeting", lambda to: Hello(PROTOCOL, "cluster", "n1", "n7", 1))
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn("n1 wants to reach 'n7', this is n2", line)

    def test_wrong_direction(self) -> None:
        """A node that should wait to be dialled is refused where it dials."""
        first = self.make("n1", peers=self.PAIR)
        second = self.make("n2", peers=self.PAIR)
        self.patch(transport, "dials", lambda node, peer: node == "n2")
        self.start(first)
        with capturedLogs() as events:
            self.start(second)
            self.wires.pass_time(1.0)
        lines = [line for line in warnings(events) if "which dials" in line]
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertIn("n2 dialled n1, which dials n2 itself", line)

    def test_other_authority(self) -> None:
        """A node with a certificate of another CA is refused, and told so."""
        other = self.credentials("n1", create_authority(self.place / "other"))
        first = self.make("n1", peers=self.PAIR, credentials=other)
        dialler, listener = self.refusal(first, self.make("n2", peers=self.PAIR))
        self.assertIn("its certificate is not signed by our CA", dialler)
        self.assertIn("it refused our certificate: not signed by its CA", listener)

    def test_authority_that_only_the_listener_minds(self) -> None:
        """A dialler that trusts the listener hears why the listener does not trust it.

        With TLS 1.3 that is after its own part of the handshake is over.
        """
        other = self.credentials("n1", create_authority(self.place / "other"))
        other.ca.write_bytes(other.ca.read_bytes() + self.authority.pem)
        first = self.make("n1", peers=self.PAIR, credentials=other)
        dialler, listener = self.refusal(first, self.make("n2", peers=self.PAIR))
        self.assertIn("it refused our certificate: not signed by its CA", dialler)
        self.assertIn("its certificate is not signed by our CA", listener)

    def test_plaintext(self) -> None:
        """Who speaks no TLS on the peer port is shown the door, with one line."""
        node = self.make("n2", peers=self.PAIR)
        self.start(node)
        for turn, words in enumerate(
            (b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\x05hello", b"SET /a b\r\n", b"\xff" * 99)
        ):
            with capturedLogs() as events:
                stranger = self.visit(f"host{turn}", words)
                self.wires.pass_time(0.1)
            self.assertTrue(stranger.over)
            (line,) = warnings(events)
            self.assertIn(f"no link with host{turn}.test", line)
            self.assertIn("it does not speak TLS", line)

    def test_dialled_something_else(self) -> None:
        """A dialler that reaches some other server says that it is no node."""
        strangers: list[Stranger] = []

        def build() -> Stranger:
            strangers.append(Stranger(b"220 mail ESMTP\r\n"))
            return strangers[-1]

        self.wires.listen("?", ADDRESSES["n2"], Factory.forProtocol(build))
        with capturedLogs() as events:
            self.start(self.make("n1", peers=self.PAIR))
            self.wires.pass_time(5.0)
        (line,) = warnings(events)
        self.assertIn("no link with n2 (two:2): it does not speak TLS", line)

    def test_no_hello(self) -> None:
        """Who says nothing on the peer port is shown the door after some seconds."""
        self.start(self.make("n2", peers=self.PAIR))
        stranger = self.visit("host", b"")
        self.wires.pass_time(limits.GREETING_SECONDS - 0.1)
        self.assertFalse(stranger.over)
        with capturedLogs() as events:
            self.wires.pass_time(0.2)
        self.assertTrue(stranger.over)
        self.assertIn("it said no Hello within 3 s", warnings(events)[0])

    def test_crowd(self) -> None:
        """However many strangers come and say nothing, few are kept, and peers get in."""
        self.start(self.make("n2", peers=self.PAIR))
        crowd = [self.visit("host", b"") for _ in range(limits.GREETINGS_MAX + 10)]
        first = self.make("n1", peers=self.PAIR)
        self.start(first)
        self.wires.pump()
        self.assertEqual(first.connected(), {"n2"})
        kept = [one for one in crowd if not one.over]
        self.assertEqual(kept, crowd[-len(kept) :])
        self.assertLess(len(kept), limits.GREETINGS_MAX)

    def test_garbage_for_a_hello(self) -> None:
        """A node whose first frame is no Hello is refused."""
        first = self.make("n1", peers=self.PAIR)
        self.patch(first, "greeting", lambda to: Query(1))
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn("its first words were no Hello", line)

    def test_long_greeting(self) -> None:
        """A first frame longer than any Hello is refused before it is read."""
        first = self.make("n1", peers=self.PAIR)
        huge = Hello(PROTOCOL, "c" * limits.HELLO_BYTES_MAX, "n1", "n2", 1)
        self.patch(first, "greeting", lambda to: huge)
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn("at most 4096 are taken", line)

    def test_junk_is_told_to_both(self) -> None:
        """A frame that is no message closes the link, and both logs say so."""
        first, _ = self.start_pair()
        with capturedLogs() as events:
            first.send("n2", JUNK)
            self.wires.pump()
        theirs, ours = warnings(events)
        self.assertIn("lost the link with n1", theirs)
        self.assertIn("it sent what is no message (junk)", theirs)
        self.assertIn("lost the link with n2", ours)
        self.assertIn("no message (junk)", ours)

    def test_repeated_after_a_minute(self) -> None:
        """The same refusal is written again after a minute, not each time that it happens."""
        with capturedLogs() as events:
            self.start(self.make("n1", peers=self.PAIR))
            self.wires.pass_time(59.0, 0.5)
            early = len(warnings(events))
            self.wires.pass_time(10.0, 0.5)
        self.assertEqual((early, len(warnings(events))), (1, 2))

    def test_credentials_first(self) -> None:
        """Credentials that do not fit are refused before anything is opened."""
        wrong = self.credentials("n3")
        error = self.assertRaises(CredentialsError, self.make, "n1", credentials=wrong)
        self.assertIn("is the certificate of n3, not of n1", str(error))
        with self.assertRaises(CredentialsError) as bad_name:
            self.make("n1", peers={"N2": "two:2"})
        self.assertIn("'N2' cannot have a certificate", str(bad_name.exception))

    def test_nobody_could_come(self) -> None:
        """A node that others dial has to listen, and peers want credentials."""
        for listen, credentials, text in (
            (None, self.credentials("n2"), "n1 dials n2: give --peer-listen"),
            (self.wires.listening("n2", "two:2"), None, "peers want --ca"),
        ):
            with self.assertRaises(CredentialsError) as caught:
                Transport(
                    self.clock,
                    node="n2",
                    cluster="cluster",
                    incarnation=1,
                    peers=ADDRESSES,
                    listen=listen,
                    credentials=credentials,
                    dice=None,  # type: ignore[arg-type]  # it never gets so far
                )
            self.assertIn(text, str(caught.exception))
