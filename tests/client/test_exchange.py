"""One request on the wire, and what the replies to it come to."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.client.conversation import Conversation
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.client.replies import Allowed, Credentials
from coord.client.rows import Difference, Entries
from coord.errors import Aborted, IsDirectory, NoEntry, Overloaded, TooLate, Unknown
from coord.events import Event, Kind, SessionEvent, Trouble
from coord.results import Committed, Entry, Granted, Point, Row, Value, Written

LOOK = commands.Transaction((commands.Look("/a"), commands.Set("/b", b"\n")))
MADE = commands.Transaction((commands.Add("/n-", b"", sequential=True), commands.Look("/a")))
ENTRY = b"#1 ITEM 7 /a SET bob@10.0.0.1:5 2026-11-20T08:00:00.250Z"


class Answers(SynchronousTestCase):
    """Replies become results."""

    def setUp(self) -> None:
        """Begin."""
        self.ears = Exchange(commands.Ping())
        self.conversation = Conversation(self.ears)

    def told(self, command: commands.Command, *lines: bytes) -> list[Any]:
        """Return what a request comes to by some lines."""
        exchange = Exchange(command)
        self.conversation.ask(exchange)
        told = self.conversation.receive(b"".join(line + b"\n" for line in lines))
        return [outcome for _, outcome in told]

    def test_locks(self) -> None:
        """A lock's answer is its token; one that may wait has a tag, so that others go on."""
        self.assertEqual(self.told(commands.Lock("/l"), b"OK 7"), [Granted(7)])
        waiting = commands.Lock("/l", b"me", wait_ms=1500, delay_ms=20, shared=True)
        self.assertEqual(self.told(waiting, b"#1 OK 8"), [Granted(8)])
        sent = self.conversation.take_outbox()
        self.assertEqual(sent, b"LOCK /l\n#1 LOCK shared wait=1.500 delay=0.020 /l me\n")

    def test_session(self) -> None:
        """A session is told with its key, which no text of ours shows."""
        (told,) = self.told(commands.Session(timeout_ms=500), b"#1 OK 00ff:se-cret timeout=0.5")
        self.assertEqual(told, Credentials("00ff", "se-cret", 500))
        self.assertNotIn("se-cret", repr(told))
        kept = self.told(commands.Session(keep=True), b"#2 OK 00ff timeout=2")
        self.assertEqual(kept, [Credentials("00ff", "", 2000)])
        self.assertEqual(self.told(commands.Session(end=True), b"OK 9"), [Written(9)])
        self.assertEqual(self.told(commands.Auth(b"x"), b"#3 OK admin"), [Allowed("admin")])

    def test_troubles(self) -> None:
        """What befalls the session is heard whenever it is said, within other replies too."""
        told = self.conversation.receive(b"EVENT 5 jeopardy 00ff\nEVENT 5 safe 00ff\n")
        self.assertEqual([who for who, _ in told], [self.ears, self.ears])
        self.assertEqual(told[0][1], SessionEvent(5, Trouble.JEOPARDY, "00ff"))
        walk = self.told(
            commands.Walk("/**"), b"#1 NODE /a 1 x", b"EVENT 6 expired 00ff", b"#1 END 6"
        )
        self.assertEqual([type(one).__name__ for one in walk], ["SessionEvent", "Page"])

    def test_log(self) -> None:
        """Changes have their author and their time."""
        entry = Entry(7, "/a", "SET", "bob@10.0.0.1:5", 1_795_161_600_250)
        (found,) = self.told(commands.Log("/**"), ENTRY, b"#1 END 9")
        self.assertEqual(found, Entries(9, (entry,)))
        cases = (b"x /a SET b 2026-11-20T08:00:00Z", b"7 /a SET b now", b"7 /a SET b", b"7 a b c d")
        for row in cases:
            self.conversation = Conversation()
            with self.assertRaises(Junk, msg=row):
                self.told(commands.Blame("/a"), b"#1 ITEM " + row, b"#1 END 9")

    def test_transaction(self) -> None:
        """A transaction is sent at once, under one tag; its answer has the rows of its lines."""
        told = self.told(
            LOOK,
            b"#1 OK QUEUED",
            b"#1 OK QUEUED",
            b"#1 OK QUEUED",
            b"#1 VALUE 3 {1}\n\n",
            b"#1 OK 9",
        )
        self.assertEqual(told, [Committed(9, (Value(3, b"\n"),))])
        sent = self.conversation.take_outbox()
        self.assertEqual(sent, b"#1 BEGIN\n#1 GET /a\n#1 SET /b {1}\n\n\n#1 COMMIT\n")

    def test_rows(self) -> None:
        """What a line saw may be an error: that is a row. Where no row is due it is the end."""
        queued = [b"#1 OK QUEUED"] * 3
        told = self.told(MADE, *queued, b"#1 ITEM /n-1", b"#1 ERR ISDIR no value", b"#1 OK 9")
        self.assertEqual(told, [Committed(9, ("/n-1", IsDirectory("no value")))])
        for code in (b"ABORTED 1 NOENT", b"UNAVAILABLE", b"SESSION_EXPIRED"):
            self.conversation = Conversation()
            (told,) = self.told(MADE, *queued, b"#1 ERR %b no" % code)
            self.assertEqual(told.code, code.split()[0].decode())
        self.conversation = Conversation()
        (late,) = self.told(MADE, *queued, b"#1 ITEM /n-1", b"#1 VALUE 1 x", b"#1 ERR NOENT no")
        self.assertEqual(late, NoEntry("no"))
        for junk in (b"#1 ITEM n", b"#1 END 4", b"#1 OK"):
            self.conversation = Conversation()
            with self.assertRaises(Junk, msg=junk):
                self.told(MADE, *queued, junk)

    def test_no_room(self) -> None:
        """A transaction for which there was no room at that moment can be asked again."""
        queued = [b"#1 OK QUEUED"] * 2
        problem = b"OVERLOADED too large together"
        told = self.told(LOOK, *queued, b"#1 ERR " + problem, b"#1 ERR ABORTED 2 " + problem)
        self.assertEqual([type(one) for one in told], [Overloaded])

    def test_begin_refused(self) -> None:
        """Where BEGIN was refused nothing was done, unless lines were done by themselves."""
        refused = [b"#1 ERR OVERLOADED full"]
        told = self.told(LOOK, *refused, *refused, *refused, b"#1 ERR BAD_REQUEST no transaction")
        self.assertEqual(told, [Overloaded("full")])
        self.conversation = Conversation()
        astray = self.told(LOOK, *refused, b"#1 VALUE 1 x", b"#1 OK 7", b"#1 ERR BAD_REQUEST no")
        self.assertEqual([type(one) for one in astray], [Unknown])

    def test_named(self) -> None:
        """An id stands where the protocol wants it, and goes where it is not wanted any more."""
        for command, line in (
            (commands.Set("/a", b"SET /x y"), b"SET id=w /a SET /x y\n"),
            (commands.Delete("/a", tree=True), b"DEL id=w tree /a\n"),
            (commands.Lock("/l"), b"LOCK id=w /l\n"),
            (LOOK, b"COMMIT id=w\n"),
        ):
            exchange = Exchange(command)
            plain = exchange.lines
            exchange.call("w")
            self.assertEqual(exchange.lines[-1], line)
            self.assertEqual(exchange.lines[:-1], plain[:-1])
            exchange.relabel()
            self.assertEqual(exchange.lines, plain)
        self.assertEqual(Exchange(commands.Once("w", LOOK)).lines[-1], b"COMMIT id=w\n")

    def test_aborted(self) -> None:
        """The line that failed is named by the server's own words."""
        told = self.told(LOOK, *[b"#1 OK QUEUED"] * 3, b"#1 ERR ABORTED 2 LOCKED by another")
        self.assertEqual(told, [Aborted("2 LOCKED by another")])

    def test_outcome(self) -> None:
        """An outcome is what the write was answered."""
        self.assertEqual(self.told(commands.Outcome("w"), b"#1 OK 7 /n"), [Written(7, "/n")])
        rows = self.told(commands.Outcome("w"), b"#2 VALUE 1 x", b"#2 ITEM /n", b"#2 OK 7")
        self.assertEqual(rows, [Committed(7, (Value(1, b"x"), "/n"))])


class Differences(SynchronousTestCase):
    """A watch that goes on where history is gone."""

    def setUp(self) -> None:
        """Watch from a revision, taking differences."""
        self.conversation = Conversation()
        self.watch = Exchange(commands.Watch("/w/*", 3, diff=True), tagged=True)
        self.conversation.watch(self.watch)

    def receive(self, *lines: bytes) -> list[Any]:
        """Return what the watch is told."""
        told = self.conversation.receive(b"".join(b"#1 " + line + b"\n" for line in lines))
        return [outcome for _, outcome in told]

    def test_difference(self) -> None:
        """It is told in one piece, and then events."""
        self.assertEqual(self.conversation.take_outbox(), b"#1 WATCH from=3 diff /w/*\n")
        told = self.receive(
            b"OK 9 diff", b"NODE /w/a 7 x", b"ITEM /w/%20", b"END 9", b"EVENT 10 del /w/a"
        )
        expected = Difference(
            rev=9, after_rev=3, changed=(Row("/w/a", 7, b"x"),), unchanged=("/w/ ",)
        )
        self.assertEqual(told, [expected, Event(10, Kind.DEL, "/w/a")])

    def test_nothing_differs(self) -> None:
        """Nothing may be there any more, too."""
        (told,) = self.receive(b"OK 9 diff", b"END 9")
        self.assertEqual((told.changed, told.unchanged), ((), ()))

    def test_history_is_there(self) -> None:
        """Where history is kept it is a watch like any other."""
        self.assertEqual(self.receive(b"OK 3", b"EVENT 4 del /w/a")[0], Point(3))

    def test_refused_within(self) -> None:
        """A difference that ends in an error is none."""
        told = self.receive(b"OK 9 diff", b"NODE /w/a 7 x", b"ERR TOO_LATE read too slowly: 9")
        self.assertEqual([type(one) for one in told], [TooLate])
        self.assertEqual(self.conversation.unanswered(), [])

    def test_junk(self) -> None:
        """What is no row of a difference is junk."""
        for line in (b"EVENT 10 del /w/a", b"OK 3", b"ITEM bad", b"STAT /a"):
            self.setUp()
            with self.assertRaises(Junk, msg=line):
                self.receive(b"OK 9 diff", line)
