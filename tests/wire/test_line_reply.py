"""Replies as bytes: to the letter, and so that any client can read them back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import paths
from coord.errors import CATALOGUE, BadRequest, NoEntry, RevisionMismatch, Unknown
from coord.events import Event, Kind, SessionEvent, Trouble
from coord.limits import INLINE_VALUE_BYTES_MAX
from coord.results import (
    Committed,
    Entry,
    Facts,
    Granted,
    Items,
    Point,
    Queued,
    Row,
    Value,
    Written,
)
from coord.wire import line_reply


def read_value(text: bytes) -> bytes:
    """Return the value that ends a reply, as a client reads it."""
    line, _, rest = text.partition(b"\n")
    announced = re.fullmatch(rb"\{([0-9]+)\}", line)
    if announced is None:
        assert not rest, "one line, and nothing behind it"
        return line
    size = int(announced[1])
    assert rest[size:] == b"\n", "a literal, and its line end"
    return rest[:size]


class Letters(SynchronousTestCase):
    """The replies of the protocol's table."""

    def test_lines(self) -> None:
        """Each result has its words."""
        for result, text in (
            (Written(5), b"OK 5\n"),
            (Written(6, "/jobs/a b"), b"OK 6 /jobs/a%20b\n"),
            (Point(9), b"OK 9\n"),
            (Value(5, b"hello, world"), b"VALUE 5 hello, world\n"),
            (Value(5, b""), b"VALUE 5 \n"),
            (
                RevisionMismatch("/message was last changed at revision 5"),
                b"ERR REV_MISMATCH /message was last changed at revision 5\n",
            ),
            (Unknown(), b"ERR UNKNOWN\n"),
            (Granted(7), b"OK 7\n"),
            (Committed(8, (Value(1, b"x"),)), b"OK 8\n"),
        ):
            self.assertEqual(line_reply.reply(result), text)

    def test_sessions(self) -> None:
        """A session is told with its key to who opened it, and by its id alone else."""
        self.assertEqual(line_reply.session("5f0e", "k-_", 10_000), b"OK 5f0e:k-_ timeout=10\n")
        self.assertEqual(line_reply.kept("5f0e", 2500), b"OK 5f0e timeout=2.5\n")
        self.assertEqual(line_reply.kept("5f0e", 86_400_000), b"OK 5f0e timeout=86400\n")
        for trouble in Trouble:
            text = b"EVENT 12 %b 5f0e\n" % trouble.value.encode()
            self.assertEqual(line_reply.trouble(SessionEvent(12, trouble, "5f0e")), text)

    def test_parts(self) -> None:
        """What a transaction's lines have to tell: a value, why there is none, a path made."""
        for part, text in (
            (Value(3, b"x\ny"), b"VALUE 3 {3}\nx\ny\n"),
            (NoEntry("/a is not there"), b"ERR NOENT /a is not there\n"),
            ("/jobs/a b-0000000001", b"ITEM /jobs/a%20b-0000000001\n"),
        ):
            self.assertEqual(line_reply.part(part), text)

    def test_place(self) -> None:
        """A place in a queue is not yet the lock."""
        self.assertTrue(line_reply.reply(Queued(4)).startswith(b"ERR LOCKED "))

    def test_rows(self) -> None:
        """Rows and what closes them."""
        self.assertEqual(line_reply.row(Row("/a%", 3, b"x y")), b"NODE /a%25 3 x y\n")
        self.assertEqual(line_reply.name("a b"), b"ITEM a%20b\n")
        self.assertEqual(
            line_reply.table(Items(7, ("node=n1", "rev=7"))),
            [b"ITEM node=n1\n", b"ITEM rev=7\n", b"END 7\n"],
        )
        self.assertEqual(line_reply.lesson("so"), b"HELP so\n")
        self.assertEqual(line_reply.lesson(""), b"HELP\n")

    def test_events(self) -> None:
        """A node that was set is told with its value, also an empty one; one deleted without."""
        for event, text in (
            (Event(6, Kind.SET, "/a", b"up"), b"EVENT 6 set /a up\n"),
            (Event(6, Kind.SET, "/a", b""), b"EVENT 6 set /a \n"),
            (Event(6, Kind.SET, "/a", b"\n"), b"EVENT 6 set /a {1}\n\n\n"),
            (Event(7, Kind.DEL, "/a b"), b"EVENT 7 del /a%20b\n"),
        ):
            self.assertEqual(line_reply.event(event), text)

    def test_facts(self) -> None:
        """STAT names at least what the protocol demands, and - for what there is not."""
        facts = Facts(
            path="/a",
            rev=9,
            created=4,
            version=2,
            child_rev=8,
            child_version=3,
            children=1,
            size_bytes=None,
            created_ms=1,
            modified_ms=2,
        )
        words = line_reply.reply(facts).decode().split()
        self.assertEqual(
            words[:9],
            [
                "STAT",
                "/a",
                "rev=9",
                "created=4",
                "version=2",
                "children=1",
                "bytes=0",
                "owner=-",
                "ttl=-",
            ],
        )
        self.assertTrue(all("=" in word for word in words[2:]))
        self.assertEqual(words[-4:], ["holder=-", "shared=no", "token=-", "waiting=0"])

    def test_facts_of_a_lock(self) -> None:
        """STAT of a lock's node shows who holds it, under which token, and how many wait."""
        facts = Facts(
            path="/a", rev=9, created=4, version=2, child_rev=0, child_version=0, children=0,
            size_bytes=3, created_ms=1, modified_ms=2, owner="s1", ttl_seconds=1.5,
            holders=("s1", "s2"), shared=True, token=9, waiting=3,
        )  # fmt: skip
        words = line_reply.reply(facts).decode().split()
        self.assertEqual(words[7:9], ["owner=s1", "ttl=1.5"])
        self.assertEqual(words[-4:], ["holder=s1,s2", "shared=yes", "token=9", "waiting=3"])

    def test_spans(self) -> None:
        """Spans of time are told to the millisecond, and never in powers of ten."""
        for span, text in (
            (10.0, "10"),
            (0.5, "0.5"),
            (1.234, "1.234"),
            (315360000.0, "315360000"),
        ):
            self.assertEqual(line_reply.seconds(span), text)

    def test_entry(self) -> None:
        """A row of a log: revision, path, verb, author in one word, time in UTC."""
        change = Entry(7, "/a b", "SET", "web server@10.0.0.1:5", 1763625601234)
        self.assertEqual(
            line_reply.entry(change),
            b"ITEM 7 /a%20b SET web%20server@10.0.0.1:5 2025-11-20T08:00:01.234Z\n",
        )
        self.assertEqual(
            line_reply.entry(Entry(1, "/a", "", "", 0)), b"ITEM 1 /a - - 1970-01-01T00:00:00.000Z\n"
        )

    @given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
    def test_moment(self, time_ms: int) -> None:
        """Every millisecond from the year 1 to 9999 is told as the calendar has it."""
        then = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
        told = line_reply.moment(time_ms).decode()
        self.assertEqual(told, then.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    def test_every_error(self) -> None:
        """Every code of the catalogue is told in one line."""
        for code, kind in CATALOGUE.items():
            self.assertEqual(line_reply.reply(kind("so it is")), f"ERR {code} so it is\n".encode())

    def test_error_text(self) -> None:
        """Whatever a client put into an error's text, it stays one printable line."""
        text = line_reply.error(BadRequest("a\r\nOK 5\x00\x1b[2J \u2028 \ud800 ä"))
        self.assertEqual(text.count(b"\n"), 1)
        self.assertTrue(text.decode().rstrip("\n").isprintable())
        self.assertIn("ä", text.decode())


class Values(SynchronousTestCase):
    """Where a value stands on the line and where it is a literal."""

    def test_on_the_line(self) -> None:
        """What a person can read stands on the line."""
        for value in (
            b"x",
            b"",
            b" ",
            "grün".encode(),
            b"{}",
            b"{a}",
            b"{5} ",
            b"{-5}",
            b"x" * INLINE_VALUE_BYTES_MAX,
        ):
            self.assertEqual(line_reply.written(value), value)

    def test_literal(self) -> None:
        """Control bytes, bytes that are no UTF-8, ``{n}`` itself, and what is long, do not."""
        for value in (
            b"a\nb",
            b"\x00",
            b"\x7f",
            b"\t",
            b"\r",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
            b"{5}",
            b"{0}",
            b"x" * (INLINE_VALUE_BYTES_MAX + 1),
        ):
            self.assertEqual(line_reply.written(value), b"{%d}\n%b" % (len(value), value))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(
        st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb"\{-?[0-9]*\}\n?")),
        st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
    )
    def test_read_back(self, value: bytes, parts: list[str]) -> None:
        """Any value and any path that the node prints, a client reads back."""
        path = "/" + "/".join(parts)
        try:
            paths.validate(path)
        except Exception:
            path = "/plain"
        reply = line_reply.reply(Value(1, value))
        self.assertEqual(read_value(reply.removeprefix(b"VALUE 1 ")), value)
        word, written, rev, rest = line_reply.row(Row(path, 7, value)).split(b" ", 3)
        self.assertEqual((word, paths.decode(written), rev), (b"NODE", path, b"7"))
        self.assertEqual(read_value(rest), value)
