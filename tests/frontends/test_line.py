"""The line protocol as a client meets it: every verb, a word-for-word conversation, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import CLUSTER, Caller, Read, Write
from coord.frontends.line import LineFactory
from coord.limits import VALUE_BYTES_MAX
from tests.frontends.local import Answer, Client, LocalCoordinator

KEYBOARD = (
    ("SET /message hello, world\n", "OK 5\n"),
    ("GET /message\n", "VALUE 5 hello, world\n"),
    (
        "SET if=0 /message again\n",
        "ERR REV_MISMATCH /message was last changed at revision 5\n",
    ),
    ("#w WATCH /services/**\n", "#w OK 5\n"),
    (
        "ADD ephemeral /services/web/10.0.0.7:80 up\n",
        "OK 6 /services/web/10.0.0.7:80\n#w EVENT 6 set /services/web/10.0.0.7:80 up\n",
    ),
    ("LOCK /leader/batch host-7\n", "OK 7\n"),
    ("BEGIN\n", "OK QUEUED\n"),
    ("CHECK token=7 /leader/batch\n", "OK QUEUED\n"),
    ("SET /jobs/last 2026-11-20\n", "OK QUEUED\n"),
    ("COMMIT\n", "OK 8\n"),
)
"""The session at the keyboard of the protocol's page: what is typed, and what comes back."""


class LineCase(SynchronousTestCase):
    """A node alone, and clients of it."""

    def setUp(self) -> None:
        """Start the node and connect a client."""
        self.clock = Clock()
        self.coordinator = LocalCoordinator()
        self.factory = LineFactory(self.clock, self.coordinator)
        self.client = self.connect()

    def connect(self) -> Client:
        """Return one more client."""
        return Client(self.factory, self.clock)

    def hold(self, conversation: str) -> None:
        """Hold a conversation word for word: lines sent, and behind two spaces lines that come."""
        sent: list[str] = []
        expected: list[str] = []
        for line in conversation.strip("\n").splitlines():
            line = line.removeprefix("        ")
            (expected if line.startswith("  ") else sent).append(line)
        text = "".join(f"{line}\n" for line in sent)
        came = self.client.ask(text.encode()).decode()
        self.assertEqual(came.splitlines(), [line.removeprefix("  ") for line in expected])


class Verbs(LineCase):
    """Each verb's request and reply, as the protocol's table has them."""

    def test_keyboard(self) -> None:
        """The session at the keyboard goes as the protocol's page shows it."""
        self.hold("SET /a 1\n  OK 1\nSET /b 2\n  OK 2\nSET /c 3\n  OK 3\nSET /d 4\n  OK 4")
        for request, reply in KEYBOARD:
            self.assertEqual(self.client.ask(request.encode()).decode(), reply)

    def test_values(self) -> None:
        """GET answers with the value and its revision, now or as it was."""
        self.hold("SET /a one\n  OK 1\nSET /a two\n  OK 2\nSET /b/c x\n  OK 3")
        self.hold("GET /a\n  VALUE 2 two\nget LOCAL /a\n  VALUE 2 two\nGET rev=1 /a\n  VALUE 1 one")
        codes = self.client.ask(b"GET /none\nGET /b\nGET rev=9 /a\n").split()
        self.assertEqual((codes[:2], b"ISDIR" in codes), ([b"ERR", b"NOENT"], True))

    def test_conditions(self) -> None:
        """SET and DEL with if= do nothing where the node is not as it should be."""
        self.hold("SET if=0 /a x\n  OK 1\nSET if=1 /a y\n  OK 2")
        text = self.client.ask(b"SET if=1 /a z\nSET if=3 /none z\nDEL if=1 /a\nDEL /none\n")
        codes = [line.split()[1] for line in text.splitlines()]
        self.assertEqual(codes, [b"REV_MISMATCH", b"NOENT", b"REV_MISMATCH", b"NOENT"])
        self.hold("DEL if=2 /a\n  OK 3")

    def test_add(self) -> None:
        """ADD names the node that it made, numbered where asked."""
        self.hold("ADD seq /jobs/job- x\n  OK 1 /jobs/job-0000000001")
        self.hold("ADD seq /jobs/job- x\n  OK 2 /jobs/job-0000000002")
        self.hold("ADD /a%20b x\n  OK 3 /a%20b")
        self.assertTrue(self.client.ask(b"ADD /a%20b x\n").startswith(b"ERR EXISTS "))

    def test_delete(self) -> None:
        """DEL takes a node with children only with tree."""
        self.hold("SET /a/b 1\n  OK 1\nSET /a/c 1\n  OK 2")
        self.assertTrue(self.client.ask(b"DEL /a\n").startswith(b"ERR NOTEMPTY "))
        self.hold("DEL tree /a\n  OK 3\nLIST /\n  END 3")

    def test_stat(self) -> None:
        """STAT tells a node's facts."""
        self.hold("SET /a xyz\n  OK 1\nSET /a/b 1\n  OK 2\nSET /a four\n  OK 3")
        words = self.client.ask(b"STAT /a\n").split()
        self.assertEqual(words[:2], [b"STAT", b"/a"])
        facts = dict(word.split(b"=") for word in words[2:])
        wanted = {b"rev": b"3", b"created": b"1", b"children": b"1", b"bytes": b"4"}
        self.assertEqual({name: facts[name] for name in wanted}, wanted)
        self.assertEqual((facts[b"owner"], facts[b"ttl"]), (b"-", b"-"))
        self.assertIn(b"version", facts)

    def test_list(self) -> None:
        """LIST names the children, sorted; a leaf has none, and what is not there is NOENT."""
        self.hold("SET /d/b 1\n  OK 1\nSET /d/a%20a 1\n  OK 2\nSET /d/c/x 1\n  OK 3")
        self.hold("LIST /d\n  ITEM a%20a\n  ITEM b\n  ITEM c\n  END 3")
        self.hold("LIST rev=1 /d\n  ITEM b\n  END 1\nLIST local /d/b\n  END 3")
        self.assertTrue(self.client.ask(b"LIST /none\n").startswith(b"ERR NOENT "))

    def test_walk(self) -> None:
        """WALK shows what matches and holds a value, in path order, after a path, up to a limit."""
        self.hold("SET /d/b 2\n  OK 1\nSET /d 1\n  OK 2\nSET /d/c/x {\n  OK 3\nSET /e 3\n  OK 4")
        self.hold("WALK /d/**\n  NODE /d/b 1 2\n  NODE /d/c/x 3 {\n  END 4")
        self.hold("WALK limit=2 /**\n  NODE /d 2 1\n  NODE /d/b 1 2\n  END 4")
        self.hold("WALK after=/d/b limit=1 /**\n  NODE /d/c/x 3 {\n  END 4")
        self.hold("WALK rev=1 local /**\n  NODE /d/b 1 2\n  END 1")
        self.hold("#t WALK /d/?\n  #t NODE /d/b 1 2\n  #t END 4")

    def test_literals(self) -> None:
        """A value that does not fit a line goes both ways as a literal."""
        self.assertEqual(self.client.ask(b"SET /a {3}\n{5}\n"), b"OK 1\n")
        self.assertEqual(self.client.ask(b"GET /a\n"), b"VALUE 1 {3}\n{5}\n")
        self.assertEqual(self.client.ask(b"#t GET /a\n"), b"#t VALUE 1 {3}\n{5}\n")
        self.assertEqual(self.client.ask(b"WALK /a\n"), b"NODE /a 1 {3}\n{5}\nEND 1\n")
        value = bytes(range(256)) * (VALUE_BYTES_MAX // 256)
        self.assertEqual(self.client.ask(b"SET /a {%d}\r\n%b\r\n" % (len(value), value)), b"OK 2\n")
        self.assertEqual(self.client.ask(b"GET /a\n"), b"VALUE 2 {%d}\n%b\n" % (len(value), value))

    def test_the_node_itself(self) -> None:
        """REV, SYNC, STATUS, MEMBERS and PING answer, tagged or not."""
        self.hold("SET /a 1\n  OK 1\nREV\n  OK 1\nSYNC\n  OK 1\nPING\n  OK\n#p PING\n  #p OK")
        self.hold("STATUS\n  ITEM node=n1\n  ITEM role=leader\n  END 1")
        self.hold("#m MEMBERS\n  #m ITEM n1 127.0.0.1:8076 voter up\n  #m END 1")

    def test_refusals(self) -> None:
        """What is wrong with a request is told by its code, and the connection goes on."""
        for line, code in (
            (b"FROB /a", b"UNKNOWN_VERB"),
            (b"MEMBER add n4", b"BAD_REQUEST"),
            (b"SET seq /a x", b"BAD_REQUEST"),
            (b"SET ttl=x /a x", b"BAD_REQUEST"),
            (b"GET foo", b"BAD_REQUEST"),
            (b"GET /a//b", b"BAD_PATH"),
            (b"WATCH /a/", b"BAD_GLOB"),
            (b"SET /a " + b"x" * 70_000, b"TOO_LARGE"),
            (b"\xff\xfb\x01", b"UNKNOWN_VERB"),
        ):
            reply = self.client.ask(line + b"\nPING\n").splitlines()
            self.assertEqual(len(reply), 2)
            self.assertEqual(reply[0].split()[:2], [b"ERR", code])
            self.assertEqual(reply[1], b"OK")

    def test_without_quorum(self) -> None:
        """Where there is no quorum, local reads are answered and all else UNAVAILABLE."""
        self.client.ask(b"SET /a 1\n")
        self.coordinator.quorum = False
        self.hold("GET local /a\n  VALUE 1 1\nREV\n  OK 1\nWALK local /a\n  NODE /a 1 1\n  END 1")
        for line in (b"GET /a", b"SET /a 2", b"SYNC", b"WALK /a", b"WATCH /a", b"WAIT /a"):
            self.assertTrue(self.client.ask(line + b"\n").startswith(b"ERR UNAVAILABLE "), line)
        text = self.client.ask(b"GET local /a\nSET /a 2\nGET local /a\n")
        self.assertEqual(
            [line.split()[0] for line in text.splitlines()], [b"VALUE", b"ERR", b"VALUE"]
        )


class Ends(LineCase):
    """How a connection ends."""

    def test_quit(self) -> None:
        """QUIT answers after all before it, then closes; nothing after it is done."""
        self.coordinator.holding = True
        self.client.send(b"#t SET /a 1\nGET /b\nQUIT\nSET /c 1\n#u SET /d 1\n")
        self.assertEqual(self.client.read(), b"")
        self.coordinator.release()
        self.assertEqual(
            [*self.client.read().splitlines()[-1:], self.client.is_closed], [b"OK", True]
        )
        self.assertEqual(self.coordinator.rev, 1)

    def test_quit_with_tag(self) -> None:
        """QUIT does not wait for a wait that may take for ever."""
        self.client.ask(b"#w WAIT /a\n#v WATCH /**\n")
        self.assertEqual(self.client.ask(b"#q QUIT\n"), b"#q OK\n")
        self.assertTrue(self.client.is_closed)

    def test_half_closed(self) -> None:
        """After the end of its input a client still gets every answer (nc -N)."""
        self.coordinator.holding = True
        self.client.send(b"SET /a 1\nGET /a\n")
        self.client.protocol.readConnectionLost()
        self.assertFalse(self.client.is_closed)
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"OK 1\nVALUE 1 1\n")
        self.assertTrue(self.client.is_closed)

    def test_half_closed_watch(self) -> None:
        """A watch goes on after the end of input; a wait until its event."""
        self.client.send(b"WATCH /a\n")
        self.client.protocol.readConnectionLost()
        other = self.connect()
        other.send(b"WAIT /a\n")
        other.protocol.readConnectionLost()
        self.connect().ask(b"SET /a 1\n")
        self.assertEqual(self.client.read(), b"OK 0\nEVENT 1 set /a 1\n")
        self.assertEqual(other.read(), b"EVENT 1 set /a 1\n")
        self.assertEqual((self.client.is_closed, other.is_closed), (False, True))

    def test_cut_short(self) -> None:
        """A request cut short by the end of input is told so, and not done."""
        self.client.send(b"SET /a {5}\nhel")
        self.client.protocol.readConnectionLost()
        self.assertTrue(self.client.read().startswith(b"ERR BAD_REQUEST "))
        self.assertEqual((self.client.is_closed, self.coordinator.rev), (True, 0))

    def test_absurd_literal(self) -> None:
        """After a literal too large to be skipped all answers come, then the connection closes."""
        self.coordinator.holding = True
        self.client.send(b"SET /a 1\nSET /b {99999999999}\nSET /c 1\n")
        self.coordinator.release()
        reply = self.client.read().splitlines()
        self.assertEqual(
            [line.split()[:2] for line in reply], [[b"OK", b"1"], [b"ERR", b"TOO_LARGE"]]
        )
        self.assertTrue(self.client.is_closed)

    def test_lost(self) -> None:
        """A lost connection leaves no watch, no wait and no timer behind."""
        self.client.ask(b"#w WATCH /**\n#x WAIT timeout=5 /a\n#y WAIT from=0 /b\n")
        self.assertEqual(self.coordinator.store.watch_count, 3)
        self.client.protocol.connectionLost()
        self.assertEqual(self.coordinator.store.watch_count, 0)
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.connections), ([], 0))

    def test_lost_before_answers(self) -> None:
        """Answers that come after the connection is lost go nowhere, and hold nothing."""
        self.connect().ask(b"SET /a 1\n")
        self.coordinator.holding = True
        self.client.send(b"GET /a\n#l WALK /**\n#w WATCH /a\n")
        self.client.protocol.connectionLost()
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"")
        self.assertEqual(self.coordinator.store.watch_count, 0)

    def test_too_many(self) -> None:
        """A connection too many is told OVERLOADED and closed; when one goes there is room."""
        factory = LineFactory(self.clock, self.coordinator, connections_max=1)
        first = Client(factory, self.clock)
        second = Client(factory, self.clock)
        self.assertTrue(second.read().startswith(b"ERR OVERLOADED "))
        self.assertTrue(second.is_closed)
        first.protocol.connectionLost()
        self.assertEqual(Client(factory, self.clock).ask(b"PING\n"), b"OK\n")

    def test_limits(self) -> None:
        """Line and value limits are the operator's."""
        factory = LineFactory(self.clock, self.coordinator, line_bytes_max=20, value_bytes_max=15)
        client = Client(factory, self.clock)
        for text in (b"SET /a " + b"x" * 14, b"SET /a {16}\n" + b"x" * 16):
            self.assertTrue(client.ask(text + b"\n").startswith(b"ERR TOO_LARGE "))
        self.assertEqual(client.ask(b"SET /a {15}\n" + b"x" * 15 + b"\n"), b"OK 1\n")


class Bugs(LineCase):
    """What a bug costs."""

    def test_one_connection(self) -> None:
        """A bug ends the connection that met it, with a failure in the log, and no other."""
        other = self.connect()
        serve = self.coordinator.submit

        def stumble(
            commands: Sequence[Write | Read], answer: Answer, caller: Caller = CLUSTER
        ) -> None:
            raise RuntimeError("a bug")

        self.coordinator.submit = stumble  # type: ignore[method-assign]
        self.client.send(b"GET /a\n")
        self.coordinator.submit = serve  # type: ignore[method-assign]
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(self.client.is_closed)
        self.assertEqual(other.ask(b"PING\n"), b"OK\n")
