"""Who gets no link, and what both logs say of it: TLS links over wires in memory."""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from coord import limits
from coord.node.authority import create_authority, issue_client
from coord.paxos.messages import Query
from coord.peers import identity
from coord.peers.identity import CredentialsError
from coord.peers.link import Welcome
from coord.peers.transport import Transport
from coord.replicator.interfaces import Card
from coord.wire.peer import PROTOCOL, Hello
from tests.peers.contract import JUNK
from tests.peers.nodes import ADDRESSES, NodesTestCase, warnings

NOWHERE = "nowhere:0"
"""The address of a node that cannot be dialled."""


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

    PAIR = {"n1": NOWHERE, "n2": ADDRESSES["n2"]}
    """So that n1 alone dials: else both dial where no link comes of it, and write twice as much."""

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
        said = f"n1 speaks version {PROTOCOL + 1} of the peers' protocol, n2 versions 4 to 5"
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn(said, line)
            self.assertIn("upgrade from one release to the next", line)

    def test_old_listener(self) -> None:
        """A listener of another version whose Hello comes back is refused by the dialler."""
        second = self.make("n2", peers=self.PAIR)
        answers = {"n1": Hello(0, "cluster", "n2", "n1", 1)}
        welcome = Welcome(Card(node="n1", incarnation=1), second._peers["n1"].traffic)
        self.patch(second, "admit", lambda link, hello: welcome)
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
            self.assertIn("n1 is not a peer of n2; add it with MEMBER add n1 HOST:PORT", line)

    def test_wrong_address(self) -> None:
        """A dialler does not take one node for another: the certificate counts."""
        first = self.make("n1", peers={"n2": ADDRESSES["n3"]})
        with capturedLogs() as events:
            self.start(first, self.make("n3", peers={"n1": NOWHERE}))
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

    def test_client(self) -> None:
        """A client's certificate is no node's, whatever the client is called."""
        client = issue_client(self.place / "client", self.authority, "n1")
        self.assertRaises(CredentialsError, self.make, "n1", peers=self.PAIR, credentials=client)
        self.patch(identity, "_check_owner", lambda *_: None)
        thief = self.make("n1", peers=self.PAIR, credentials=client)
        for line in self.refusal(thief, self.make("n2", peers=self.PAIR)):
            self.assertIn("the certificate there is of nobody, not of n1", line)

    def test_client_that_listens(self) -> None:
        """A client's certificate is not taken for that of the node which is dialled."""
        client = issue_client(self.place / "client", self.authority, "n2")
        self.patch(identity, "_check_owner", lambda *_: None)
        thief = self.make("n2", peers=self.PAIR, credentials=client)
        self.refusal(self.make("n1", peers=self.PAIR), thief)

    def test_meant_for_another(self) -> None:
        """A node refuses a Hello that was meant for another one."""
        first = self.make("n1", peers=self.PAIR)
        self.patch(first, "greeting", lambda to: Hello(PROTOCOL, "cluster", "n1", "n7", 1))
        for line in self.refusal(first, self.make("n2", peers=self.PAIR)):
            self.assertIn("n1 wants to reach 'n7', this is n2", line)

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
            first.send("n2", b"behind junk")
            self.wires.pump()
        self.assertEqual(self.ears["n2"].frames, [])
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
