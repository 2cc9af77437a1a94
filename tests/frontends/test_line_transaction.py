"""BEGIN to COMMIT: queued, done at one revision or not at all, and who is in whose way."""

from __future__ import annotations

from coord.commands import Look, Set, Transaction
from coord.limits import (
    TRANSACTION_PARTS_MAX,
    TRANSACTIONS_BYTES_MAX,
    TRANSACTIONS_PER_CONNECTION_MAX,
    VALUE_BYTES_MAX,
)
from tests.frontends.test_line import LineCase


class Done(LineCase):
    """Transactions that are done."""

    def test_all_at_one_revision(self) -> None:
        """Every line is answered OK QUEUED, COMMIT with the one revision; watchers see them all."""
        self.hold("SET /old 1\n  OK 1\n#w WATCH /**\n  #w OK 1")
        self.hold(
            "BEGIN\n  OK QUEUED\nCHECK if=1 /old\n  OK QUEUED\nSET /b 2\n  OK QUEUED\n"
            "ADD /a 1\n  OK QUEUED\nDEL /old\n  OK QUEUED"
        )
        self.assertEqual(self.coordinator.rev, 1)
        self.hold(
            "COMMIT\n  OK 2\n  #w EVENT 2 set /a 1\n  #w EVENT 2 set /b 2\n  #w EVENT 2 del /old"
        )

    def test_rows(self) -> None:
        """COMMIT tells first, in order, what each GET saw and what each ADD seq made."""
        self.hold(
            "SET /a 1\n  OK 1\nBEGIN\n  OK QUEUED\nGET /a\n  OK QUEUED\nSET /a 2\n  OK QUEUED\n"
            "GET /a\n  OK QUEUED\nADD seq /j- x\n  OK QUEUED\nADD /k x\n  OK QUEUED\n"
            "GET /none\n  OK QUEUED"
        )
        lines = self.client.ask(b"COMMIT\n").splitlines()
        self.assertEqual(lines[:3], [b"VALUE 1 1", b"VALUE 2 2", b"ITEM /j-0000000001"])
        self.assertTrue(lines[3].startswith(b"ERR NOENT "))
        self.assertEqual(lines[4:], [b"OK 2"])

    def test_rows_with_tag(self) -> None:
        """Every line of a tagged reply has the tag; a literal's bytes have not."""
        self.client.ask(b"SET /a {3}\nx\ny\n")
        text = b"#t BEGIN\n#t GET /a\n#t GET /a\n#t COMMIT\n"
        self.assertEqual(
            self.client.ask(text),
            b"#t OK QUEUED\n" * 3 + b"#t VALUE 1 {3}\nx\ny\n" * 2 + b"#t OK 1\n",
        )

    def test_large_rows(self) -> None:
        """Large values are told as the client takes them; no event comes between the rows."""
        self.client.ask(b"SET /a {%d}\n%b\n" % (VALUE_BYTES_MAX, b"x" * VALUE_BYTES_MAX))
        self.client.ask(b"WATCH /b\n")
        self.client.transport.unsent_max = 0
        self.client.send(b"BEGIN\n" + b"GET /a\n" * 3 + b"COMMIT\n")
        self.connect().ask(b"SET /b 1\n")
        self.assertLess(self.client.transport.unsent_max, 5 * VALUE_BYTES_MAX // 2)
        came = self.client.read().replace(b"x" * VALUE_BYTES_MAX + b"\n", b"")
        self.assertEqual(
            came.splitlines(),
            [b"OK QUEUED"] * 4
            + [b"VALUE 1 {%d}" % VALUE_BYTES_MAX] * 3
            + [b"OK 1", b"EVENT 2 set /b 1"],
        )

    def test_nothing_changed(self) -> None:
        """A transaction that changes nothing makes no revision, and tells the present one."""
        self.hold("SET /a 1\n  OK 1\nBEGIN\n  OK QUEUED\nGET /a\n  OK QUEUED")
        self.hold("COMMIT\n  VALUE 1 1\n  OK 1\nBEGIN\n  OK QUEUED\nCOMMIT\n  OK 1")

    def test_among_others(self) -> None:
        """It takes its place among the writes of the connection, in the same group."""
        self.client.ask(b"SET /a 1\nBEGIN\nSET /b 2\nCOMMIT\nGET /b\n#t SET /c 3\n")
        writes = [one for group in self.coordinator.groups for one in group]
        self.assertEqual(writes[:2], [Set("/a", b"1"), Transaction((Set("/b", b"2"),))])
        self.hold("WALK /**\n  NODE /a 1 1\n  NODE /b 2 2\n  NODE /c 3 3\n  END 3")

    def test_of_tags(self) -> None:
        """A transaction belongs to its tag; others, and untagged requests, go on meanwhile."""
        self.hold("#t BEGIN\n  #t OK QUEUED\n#u BEGIN\n  #u OK QUEUED\n#t SET /t 1\n  #t OK QUEUED")
        self.hold("SET /a 1\n  OK 1\n#v SET /v 1\n  #v OK 2\n#u SET /u 1\n  #u OK QUEUED")
        self.hold("#u COMMIT\n  #u OK 3\n#t COMMIT\n  #t OK 4")
        self.hold("#t GET /t\n  #t VALUE 4 1")

    def test_beside_it(self) -> None:
        """Within it PING, REV, STATUS, MEMBERS and HELP answer as always, and are no part of it."""
        self.hold("BEGIN\n  OK QUEUED\nPING\n  OK\nREV\n  OK 0\nSET /a 1\n  OK QUEUED")
        self.hold("STATUS\n  ITEM node=n1\n  ITEM role=leader\n  END 0")
        self.hold("MEMBERS\n  ITEM n1 127.0.0.1:8076 voter up\n  END 0")
        self.assertTrue(self.client.ask(b"HELP COMMIT\n").startswith(b"HELP "))
        self.assertTrue(self.client.ask(b"UNWATCH /none\n").startswith(b"ERR NOENT "))
        self.hold("AUTH x\n  OK admin\nCOMMIT\n  OK 1")
        self.assertIn(
            Transaction((Set("/a", b"1"),)),
            [one for group in self.coordinator.groups for one in group],
        )


class NotDone(LineCase):
    """Transactions that leave nothing."""

    def test_abort(self) -> None:
        """ABORT forgets it, and so does a lost connection, or QUIT."""
        self.hold("BEGIN\n  OK QUEUED\nSET /a 1\n  OK QUEUED\nABORT\n  OK")
        for leave in (b"QUIT\n", b""):
            client = self.connect()
            client.ask(b"BEGIN\nSET /a 1\n" + leave)
            client.protocol.connectionLost()
        self.assertEqual(self.coordinator.rev, 0)

    def test_first_failing_line(self) -> None:
        """The first line that fails names itself, and nothing is done."""
        self.client.ask(b"SET /a 1\nSET /a 2\n")
        reply = self.client.ask(b"BEGIN\nSET /b 1\nSET if=1 /a 3\nDEL /none\nCOMMIT\n")
        self.assertTrue(reply.splitlines()[-1].startswith(b"ERR ABORTED 2 REV_MISMATCH "), reply)
        self.assertTrue(self.client.ask(b"GET /b\n").startswith(b"ERR NOENT "))
        self.assertEqual(self.coordinator.rev, 2)

    def test_refused_lines(self) -> None:
        """A line that is refused is told so, and COMMIT names it: nothing is done without it."""
        for line, code in (
            (b"SET /a", b"BAD_REQUEST"),
            (b"SET //a 1", b"BAD_PATH"),
            (b"SET /a {2000000}\n" + b"x" * 2_000_000, b"TOO_LARGE"),
            (b"FROB", b"UNKNOWN_VERB"),
            (b"BEGIN", b"BAD_REQUEST"),
            (b"SET id=w /a 1", b"BAD_REQUEST"),
            (b"CHECK /a", b"BAD_REQUEST"),
            (b"GET local /a", b"BAD_REQUEST"),
            (b"GET rev=1 /a", b"BAD_REQUEST"),
            (b"LOCK /a", b"BAD_REQUEST"),
            (b"LIST /", b"BAD_REQUEST"),
            (b"WATCH /a", b"BAD_REQUEST"),
            (b"SESSION", b"BAD_REQUEST"),
            (b"SYNC", b"BAD_REQUEST"),
        ):
            for tag in (b"", b"#t "):
                lines_sent = (b"BEGIN", b"SET /b 1", line, b"SET /c 1", b"FROB", b"COMMIT")
                text = b"".join(tag + one + b"\n" for one in lines_sent)
                lines = self.client.ask(text).splitlines()
                self.assertEqual(len(lines), 6, line[:20])
                self.assertEqual(lines[2].removeprefix(tag).split()[:2], [b"ERR", code])
                self.assertTrue(lines[5].startswith(tag + b"ERR ABORTED 2 %b " % code), lines[5])
        self.assertEqual((self.coordinator.rev, self.coordinator.groups), (0, []))

    def test_without_begin(self) -> None:
        """COMMIT, ABORT and CHECK without BEGIN are BAD_REQUEST."""
        for line in (b"COMMIT", b"ABORT", b"CHECK if=1 /a", b"COMMIT id=w"):
            for tag in (b"", b"#t "):
                reply = self.client.ask(tag + line + b"\n")
                self.assertTrue(reply.startswith(tag + b"ERR BAD_REQUEST "), reply)

    def test_too_many_lines(self) -> None:
        """A line too many is TOO_LARGE, and then nothing is done."""
        text = b"BEGIN\n" + b"SET /a 1\n" * (TRANSACTION_PARTS_MAX + 1) + b"COMMIT\n"
        lines = self.client.ask(text).splitlines()
        self.assertTrue(lines[-2].startswith(b"ERR TOO_LARGE "))
        self.assertTrue(lines[-1].startswith(b"ERR ABORTED 1001 TOO_LARGE "))
        text = b"BEGIN\n" + b"SET /a 1\n" * TRANSACTION_PARTS_MAX + b"COMMIT\n"
        self.assertEqual(self.client.ask(text).splitlines()[-1], b"OK 1")

    def test_too_many_bytes(self) -> None:
        """So is one with which it would be too large, alone or with others of the connection."""
        value = b"SET /a {1000000}\n%b\n" % (b"x" * 1_000_000)
        lines = self.client.ask(b"BEGIN\n" + 3 * value + b"COMMIT\n").splitlines()
        self.assertTrue(lines[-1].startswith(b"ERR ABORTED 3 TOO_LARGE "))
        count = TRANSACTIONS_BYTES_MAX // 1_000_000 + 1
        told = b"".join(
            self.client.ask(b"#t%d BEGIN\n#t%d %b" % (number, number, value))
            for number in range(count)
        )
        self.assertEqual(
            (told.count(b" ERR OVERLOADED "), told.count(b"QUEUED")), (1, 2 * count - 1)
        )

    def test_too_many(self) -> None:
        """One transaction too many on a connection is OVERLOADED."""
        count = TRANSACTIONS_PER_CONNECTION_MAX
        told = self.client.ask(b"".join(b"#t%d BEGIN\n" % number for number in range(count + 1)))
        self.assertEqual((told.count(b"QUEUED"), told.count(b" ERR OVERLOADED ")), (count, 1))
        self.hold("#t0 ABORT\n  #t0 OK")
        self.hold("BEGIN\n  OK QUEUED")

    def test_forgotten_bytes(self) -> None:
        """What is refused, or done, holds no memory."""
        value = b"SET /a {1000000}\n%b\n" % (b"x" * 1_000_000)
        for end in (b"FROB\nABORT\n", b"COMMIT\n", b"ABORT\n"):
            for _ in range(10):
                self.assertNotIn(b"OVERLOADED", self.client.ask(b"BEGIN\n" + value + end))
        conversation = self.client.protocol._conversation
        self.assertEqual((conversation._requests, conversation._bytes), (0, 0))


class InUse(LineCase):
    """Tags and transactions."""

    def test_pipelined(self) -> None:
        """All lines of a tagged transaction may be sent at once."""
        self.coordinator.holding = True
        self.client.send(b"#t BEGIN\n#t SET /a 1\n#t PING\n#t SET /b 1\n")
        self.assertEqual(self.client.read(), b"#t OK QUEUED\n#t OK QUEUED\n#t OK\n#t OK QUEUED\n")
        self.client.send(b"#t COMMIT\n#t GET /a\n")
        self.assertTrue(self.client.read().startswith(b"#t ERR TAG_IN_USE "))
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"#t OK 1\n")
        self.client.send(b"#t GET /a\n")
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"#t VALUE 1 1\n")

    def test_tag_of_another(self) -> None:
        """BEGIN under a tag that is in use is refused, and so is COMMIT while its tag is."""
        self.client.ask(b"#w WATCH /a\n")
        self.assertTrue(self.client.ask(b"#w BEGIN\n").startswith(b"#w ERR TAG_IN_USE "))
        self.coordinator.holding = True
        self.client.send(b"#t GET /a\n#t BEGIN\n")
        self.assertTrue(self.client.read().startswith(b"#t ERR TAG_IN_USE "))

    def test_looks(self) -> None:
        """A GET in a transaction is a part of it, not a request of its own."""
        self.client.ask(b"#t BEGIN\n#t GET /a\n#t COMMIT\n")
        self.assertEqual(self.coordinator.groups, [[Transaction((Look("/a"),))]])
