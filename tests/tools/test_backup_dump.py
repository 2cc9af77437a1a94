"""A dump against servers that answer by a script: lost on the way, refused, silent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from coord.client import NoServer
from coord.errors import Denied, TooLate
from coord.tools import backup_stream
from coord.tools.backup_dump import Dump, left_out_words
from coord.tools.backup_files import Partial, Pipe, Refused, check
from coord.tools.backup_stream import Picture
from coord.tools.progress import Progress
from coord.tools.reach import Reach
from coord.wire.backup import LeftOut

GOOD = b"NODE /a 5 1\nNODE /b 6 {2}\n\n\n\n"
REST = b"NODE /c 7 3\nEND 7\n"
LEFT_OUT = "; left out: 1 ephemeral node, 1 lock, 2 sessions"
Answer = Callable[["Server", str], None]


class Server(LineReceiver):
    """One connection of a node: ``SYNC``, ``STATUS`` and ``/ctl`` as ever, a walk by the script."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, node: Node) -> None:
        self.node = node

    def lineReceived(self, line: bytes) -> None:
        """Answer one request."""
        request = line.decode()
        self.node.asked.append(request)
        if request == "SYNC" and self.node.unready:
            self.node.unready -= 1
            self.transport.write(b"ERR UNAVAILABLE no quorum\n")
        elif request == "SYNC":
            self.transport.write(b"OK %d\n" % self.node.rev)
        elif request == "STATUS":
            role = self.node.role.encode()
            self.transport.write(
                b"ITEM role=%b\nITEM tree_nodes=4\nITEM sessions=2\nEND 7\n" % role
            )
        elif request == "GET local /ctl/acl":
            self.transport.write(self.node.rules)
        elif request.startswith("AUTH"):
            self.transport.write(self.node.allowed)
        elif request == "s3cret":
            return  # the rest of AUTH
        elif request.startswith("GET"):
            self.transport.write(b"VALUE 1 c\n")
        else:
            self.node.walks.pop(0)(self, request)


class Node:
    """A node that listens; ``walks`` are its answers to walks, one by one."""

    def __init__(self, *walks: Answer, role: str = "follower", rev: int = 7) -> None:
        self.walks = list(walks)
        self.role = role
        self.rev = rev
        self.asked: list[str] = []
        self.unready = 0
        self.rules = b"ERR NOENT there are none\n"
        self.allowed = b"OK admin\n"
        loop: Any = reactor
        self.port = loop.listenTCP(
            0, Factory.forProtocol(lambda: Server(self)), interface="127.0.0.1"
        )
        self.address = f"127.0.0.1:{self.port.getHost().port}"


def say(*lines: bytes) -> Answer:
    """Return an answer that says some lines."""

    def answer(server: Server, _: str) -> None:
        server.transport.write(b"".join(lines))

    return answer


def say_and_go(*lines: bytes) -> Answer:
    """Return an answer that says some lines, and then the connection is lost."""

    def answer(server: Server, _: str) -> None:
        server.transport.write(b"".join(lines))
        server.transport.loseConnection()

    return answer


def say_the_rest(server: Server, request: str) -> None:
    """Answer with what comes after what was asked for."""
    server.transport.write(REST if "after=/b" in request else GOOD + REST)


class Dumps(TestCase):
    """Dumps of one node or two."""

    def setUp(self) -> None:
        """Be patient for moments only."""
        self.path = Path(self.mktemp())
        self.notes: list[str] = []
        self.secret: bytes | None = None
        self.patch(backup_stream, "AGAIN_SECONDS", 0.01)

    def node(self, *walks: Answer, role: str = "follower", rev: int = 7) -> Node:
        """Return a node, which stops listening with the test."""
        node = Node(*walks, role=role, rev=rev)
        self.addCleanup(node.port.stopListening)
        return node

    def dump(self, *nodes: Node, reach_seconds: float | None = None) -> Dump:
        """Return a dump of some nodes."""
        return Dump(
            reactor,
            Reach(servers=[node.address for node in nodes], secret=self.secret),
            Progress("nodes", screen=io.StringIO()),
            self.notes.append,
            reach_seconds=reach_seconds,
        )

    async def dumped(self, *nodes: Node) -> None:
        """Dump into a file, and see that it holds what the nodes have."""
        dump = self.dump(*nodes)
        await dump.run(Partial(self.path))
        with self.path.open("rb") as file:
            found = check(file)
        self.assertEqual((found.lines, found.header.rev, found.header.cluster), (3, 7, "c"))
        self.assertEqual((dump.nodes, dump.picture.nodes), (3, 4))

    async def test_whole(self) -> None:
        """A dump asks for one revision, and takes it from a node that does not lead."""
        leader, other = self.node(role="leader"), self.node(say(GOOD, REST))
        await self.dumped(leader, other)
        self.assertIn("WALK rev=7 lasting /**", other.asked)

    async def test_lost(self) -> None:
        """Where the node goes away, the next goes on after the last row, at the same revision."""
        one, two = self.node(say_and_go(GOOD)), self.node(say(REST), rev=9)
        await self.dumped(one, two)
        self.assertIn("WALK rev=7 after=/b lasting /**", two.asked)

    async def test_left_out(self) -> None:
        """What goes with a session is counted once, also where the node goes away at it."""
        held = b"ITEM ephemeral /a\nITEM lock /b\n"
        one = self.node(say_and_go(b"NODE / 4 0\n", held), rev=7)
        two = self.node(say(b"ITEM lock /b\nNODE /b 5 1\nITEM ttl=1.5 /c\nNODE /c 6 2\nEND 7\n"))
        dump = self.dump(one, two)
        await dump.run(Partial(self.path))
        self.assertIn("WALK rev=7 after=/a lasting /**", two.asked)
        with self.path.open("rb") as file:
            found = check(file)
        self.assertEqual(found.left_out, LeftOut(1, 1, 2))
        self.assertEqual(left_out_words(found.left_out), LEFT_OUT)
        self.assertIn(b"node-ttl 6 /c 1.5 2\n", self.path.read_bytes())

    async def test_secret(self) -> None:
        """A secret is shown first; one that opens nothing ends it at once."""
        self.secret = b"s3cret"
        node = self.node(say(GOOD, REST))
        node.rules = b"VALUE 3 bob may read /**\n"
        await self.dumped(node)
        self.assertEqual(node.asked[:2], ["AUTH {6}", "s3cret"])
        self.assertEqual(self.notes, [])
        node.allowed = b"ERR DENIED no such secret\n"
        await self.assertFailure(self.fails(self.dump(node), Pipe(io.BytesIO())), Denied)

    async def test_rules(self) -> None:
        """Who may not see all is told that the dump may not have all."""
        for rules in (b"VALUE 3 bob may read /**\n", b"ERR DENIED it is not for you\n"):
            node = self.node(say(GOOD, REST))
            node.rules = rules
            dump = self.dump(node)
            await dump.run(Pipe(io.BytesIO()))
            note = self.notes.pop()
            self.assertIn("rules of access", note)
            self.assertIn("unless we may do all", note)

    async def test_hidden(self) -> None:
        """A cluster that lets nobody in says so at once."""
        node = self.node(say(b"ERR DENIED nothing for you\n"))
        await self.assertFailure(self.fails(self.dump(node), Pipe(io.BytesIO())), Denied)

    async def test_refused(self) -> None:
        """A node that cannot answer now is left for another."""
        one, two = self.node(say(b"ERR UNAVAILABLE no quorum\n")), self.node(say(GOOD, REST))
        await self.dumped(one, two)

    async def test_junk(self) -> None:
        """So is one that speaks no sense."""
        one, two = self.node(say(b"HELLO\n")), self.node(say(GOOD, REST))
        await self.dumped(one, two)

    async def test_silence(self) -> None:
        """So is one that says nothing more."""
        self.patch(backup_stream, "SILENCE_SECONDS", 0.3)
        one, two = self.node(say(GOOD)), self.node(say_the_rest)
        await self.dumped(one, two)

    async def test_picture_lost(self) -> None:
        """Where the picture is lost with its node, the dump begins again."""
        one = self.node(say_and_go(GOOD), say(GOOD, REST))
        two = self.node(say(b"ERR TOO_LATE revision 7 is gone\n"))
        await self.dumped(one, two)
        self.assertIn("begin again", self.notes[0])

    async def test_picture_lost_in_a_pipe(self) -> None:
        """Into a pipe it cannot begin again, and fails."""
        node = self.node(say(GOOD, b"ERR TOO_LATE gone\n"))
        await self.assertFailure(self.fails(self.dump(node), Pipe(io.BytesIO())), Refused)

    async def test_picture_lost_for_ever(self) -> None:
        """Where that happens time and again, it is given up, and no file is left."""
        node = self.node(*[say(GOOD, b"ERR TOO_LATE gone\n")] * 3)
        sink = Partial(self.path)
        await self.assertFailure(self.fails(self.dump(node), sink), Refused)
        sink.abandon()
        self.assertFalse(self.path.exists())
        self.assertFalse(self.path.with_name(f"{self.path.name}.partial").exists())

    async def test_nobody(self) -> None:
        """Where nobody answers, that is said after a while."""
        self.patch(backup_stream, "PATIENCE_SECONDS", 0.05)
        node = self.node()
        await node.port.stopListening()
        await self.assertFailure(self.fails(self.dump(node), Pipe(io.BytesIO())), NoServer)

    async def test_nobody_at_the_keyboard(self) -> None:
        """Who waits is told after seconds that no node is there: one that is gone, one silent."""
        node = self.node()
        await node.port.stopListening()
        dump = self.dump(node, reach_seconds=0.05)
        await self.assertFailure(self.fails(dump, Pipe(io.BytesIO())), NoServer)
        silent: Any = MemoryReactorClock()
        reach = Reach(servers=["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"])
        picture = Picture(silent, reach, reach_seconds=5.0)
        opening = Deferred.fromCoroutine(picture.open())
        failed: list[Failure] = []
        opening.addErrback(failed.append)
        silent.pump([0.1] * 65)
        self.assertTrue(failed and failed[0].check(NoServer))

    async def test_somebody_else(self) -> None:
        """Who answers in words that are none of ours is no node, and not waited for."""
        node = self.node()
        self.patch(Server, "lineReceived", lambda server, _: server.transport.write(b"HTTP/1.1\n"))
        dump = self.dump(node, reach_seconds=0.3)
        await self.assertFailure(self.fails(dump, Pipe(io.BytesIO())), NoServer)

    async def test_nobody_that_serves(self) -> None:
        """A node that is there and cannot serve yet, as in an election, is waited for."""
        self.patch(backup_stream, "AGAIN_SECONDS", 0.2)
        node = self.node(say(GOOD, REST))
        node.unready = 2
        dump = self.dump(node, reach_seconds=0.0)
        await dump.run(Partial(self.path))
        self.assertEqual((dump.nodes, node.asked.count("SYNC")), (3, 3))

    def fails(self, dump: Dump, sink: Partial | Pipe) -> Deferred[None]:
        """Return the outcome of a dump."""
        return Deferred.fromCoroutine(dump.run(sink))

    async def test_backpressure(self) -> None:
        """Rows that are not wanted yet are not read: memory does not grow with the store."""
        sent = 0

        def endless(server: Server, _: str) -> None:
            class Pusher:
                def resumeProducing(self) -> None:
                    nonlocal sent
                    sent += 1
                    server.transport.write(b"NODE /a%09d 5 %b\n" % (sent, bytes([120]) * 60_000))

                def stopProducing(self) -> None:
                    pass

            server.transport.registerProducer(Pusher(), False)

        node = self.node(endless)
        picture = Picture(reactor, Reach(servers=[node.address]), rows_per_second=50)
        await picture.open()
        taken = 0
        async for rows in picture.rows():
            taken += len(rows)
            if taken > 20:
                break
        picture.close()
        self.assertLess(sent, 400)

    async def test_too_late_is_told(self) -> None:
        """Who takes the rows alone is told that the picture is gone."""
        node = self.node(say(b"ERR TOO_LATE gone\n"))
        picture = Picture(reactor, Reach(servers=[node.address]))
        await picture.open()
        with self.assertRaises(TooLate):
            async for _ in picture.rows():
                pass
        picture.close()
