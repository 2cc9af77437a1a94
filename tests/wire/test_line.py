"""Requests out of chunks: lines, literals, limits, and whatever else arrives."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Get, Ping, Set
from coord.errors import BadRequest, TooLarge, UnknownVerb
from coord.limits import LINE_BYTES_MAX, SKIPPED_BYTES_MAX, VALUE_BYTES_MAX
from coord.wire.line import Grammar, Parsed, RequestParser, Tagged

SMALL_LINE = 40
SMALL_VALUE = 30


def parser(*, small: bool = False) -> RequestParser:
    """Return a parser, with limits that a test can reach where ``small``."""
    if small:
        return RequestParser(Grammar(SMALL_VALUE), SMALL_LINE)
    return RequestParser(Grammar())


def whole(text: bytes, *, small: bool = False) -> list[Parsed]:
    """Return what ``text`` means if it arrives at once and is all."""
    reader = parser(small=small)
    return reader.feed(text) + reader.finish()


def in_pieces(pieces: list[bytes], *, small: bool = False) -> list[Parsed]:
    """Return what ``pieces`` mean as they arrive."""
    reader = parser(small=small)
    return [request for piece in pieces for request in reader.feed(piece)] + reader.finish()


class Lines(SynchronousTestCase):
    """Where a request begins and ends."""

    def test_many_in_one_chunk(self) -> None:
        """Requests in one chunk come out in order, LF and CRLF mixed."""
        self.assertEqual(
            parser().feed(b"GET /a\nSET /b 1\r\nPING\n"), [Get("/a"), Set("/b", b"1"), Ping()]
        )

    def test_unfinished(self) -> None:
        """A line counts once its end is there."""
        reader = parser()
        self.assertEqual(reader.feed(b"GET /"), [])
        self.assertEqual(reader.feed(b"a\r"), [])
        self.assertEqual(reader.feed(b"\n"), [Get("/a")])

    def test_empty_lines(self) -> None:
        """A line of nothing is nobody's request."""
        self.assertEqual(parser().feed(b"\n\r\n   \nPING\n\n"), [Ping()])

    def test_longest_line(self) -> None:
        """A line of exactly the longest length is read, with LF or CRLF."""
        value = b"x" * (LINE_BYTES_MAX - len("SET /a "))
        for end in (b"\n", b"\r\n"):
            self.assertEqual(parser().feed(b"SET /a " + value + end), [Set("/a", value)])

    def test_too_long(self) -> None:
        """A longer line is TOO_LARGE, once, under its tag, and the connection goes on."""
        line = b"#t SET /a " + b"x" * LINE_BYTES_MAX
        for pieces in ([line + b"\nPING\n"], [line, line, b"\nPING", b"\n"]):
            error, ping = in_pieces(pieces)
            assert isinstance(error, Tagged)
            self.assertIsInstance(error.request, TooLarge)
            self.assertEqual(ping, Ping())

    def test_endless_line(self) -> None:
        """A line without an end costs no more memory than the longest line."""
        reader = parser()
        kept = 0
        for _ in range(50):
            reader.feed(b"x" * 65536)
            kept = max(kept, len(reader._pending))
        self.assertLessEqual(kept, LINE_BYTES_MAX + 1)

    def test_end_within_line(self) -> None:
        """Input that ends within a line is no request: who knows what it would have said."""
        reader = parser()
        self.assertEqual(reader.feed(b"SET /a hel"), [])
        (error,) = reader.finish()
        self.assertIsInstance(error, BadRequest)
        self.assertEqual(whole(b"PING\n"), [Ping()])


class Literals(SynchronousTestCase):
    """Values as ``{n}`` and n bytes."""

    def test_any_bytes(self) -> None:
        """A literal holds line ends, NUL, and what looks like a literal."""
        for value in (b"a\nb", b"\r\n", b"\n\n\n", b"\x00\xff", b"{5}", b"x\r", b""):
            for end in (b"\n", b"\r\n"):
                text = b"SET /a {%d}%b%b%bPING\n" % (len(value), end, value, end)
                self.assertEqual(parser().feed(text), [Set("/a", value), Ping()])

    def test_tagged_with_options(self) -> None:
        """A literal goes with a tag and with options."""
        text = b"#t SET if=3 /a {2}\nhi\n"
        self.assertEqual(parser().feed(text), [Tagged(b"#t ", Set("/a", b"hi", if_rev=3))])

    def test_longest(self) -> None:
        """The longest value arrives whole, in pieces of any size."""
        value = bytes(range(256)) * (VALUE_BYTES_MAX // 256)
        text = b"SET /a {%d}\n%b\n" % (len(value), value)
        pieces = [text[start : start + 65536] for start in range(0, len(text), 65536)]
        self.assertEqual(in_pieces(pieces), [Set("/a", value)])

    def test_too_large(self) -> None:
        """A larger one is TOO_LARGE at once; its bytes are read past and never kept."""
        size = VALUE_BYTES_MAX + 1
        reader = parser()
        (error,) = reader.feed(b"SET /a {%d}\n" % size)
        self.assertIsInstance(error, TooLarge)
        self.assertEqual(reader.feed(b"GET /a\n" * (size // 7)), [])
        self.assertEqual(reader.feed(b"x" * (size % 7) + b"\nPING\n"), [Ping()])
        self.assertFalse(reader.broken)

    def test_absurd(self) -> None:
        """One too large to read past ends the conversation, however many digits it has."""
        for size in (b"%d" % (SKIPPED_BYTES_MAX + 1), b"9" * 5000):
            reader = parser()
            (error,) = reader.feed(b"SET /a {%b}\nPING\n" % size)
            self.assertIsInstance(error, TooLarge)
            self.assertTrue(reader.broken)
            self.assertEqual(reader.feed(b"PING\n"), [])

    def test_negative(self) -> None:
        """A negative size is a clear error, and what follows is read as lines."""
        error, ping = whole(b"SET /a {-5}\nPING\n")
        self.assertIsInstance(error, BadRequest)
        self.assertEqual(ping, Ping())

    def test_wrong_end(self) -> None:
        """What follows a literal's bytes must be a line end; else nothing is done."""
        for text in (b"SET /a {2}\nabc\nPING\n", b"SET /a {2}\nab\rc\nPING\n"):
            error, ping = whole(text)
            self.assertIsInstance(error, BadRequest)
            self.assertEqual(ping, Ping())

    def test_cut_short(self) -> None:
        """A literal cut short by the end of input is an error, not a request."""
        for text in (b"#t SET /a {5}\n", b"#t SET /a {5}\nhell", b"#t SET /a {5}\nhello"):
            (error,) = whole(text)
            assert isinstance(error, Tagged)
            self.assertIsInstance(error.request, BadRequest)

    def test_refused_requests(self) -> None:
        """The bytes after a request that is refused are never taken for requests."""
        for line, error in (
            (b"MEMBER add /a {7}", BadRequest),
            (b"FROB {7}", UnknownVerb),
            (b"SET ttl=x /a {7}", BadRequest),
            (b"UNLOCK /a {7}", BadRequest),
            (b"GET /a {7}", BadRequest),
            (b"#bad! SET /a {7}", BadRequest),
        ):
            first, *rest = whole(line + b"\nDEL /a!\nPING\n")
            self.assertIsInstance(first, error)
            self.assertEqual(rest, [Ping()])


LINES = st.one_of(
    st.sampled_from(
        [
            b"GET /a\n",
            b"SET /a 1\r\n",
            b"SET /b {3}\na\nb\n",
            b"SET /b {3}\r\n\r\n\r\r\n",
            b"PING\n",
            b"SET /c {0}\n\n",
            b"#t GET /a\n",
            b"#t SET /a {2}\nabc\n",
            b"LOCK /a {4}\nGET \n",
            b"\n",
            b"SET /a {31}\n" + b"y" * 31 + b"\n",
            b"GET /" + b"z" * 60 + b"\n",
            b"\xff\x00 {2}\n",
            b"{2}\n",
            b"#t SET /a " + b"w" * 35 + b"\n",
            b"SET /a {-1}\n",
            b"SET /a {99999999999}\n",
            b"SET /a {5}\r\n",
        ]
    ),
    st.binary(max_size=12),
)


class Cuts(SynchronousTestCase):
    """However a stream is cut into chunks, it means the same."""

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.lists(LINES, max_size=8).map(b"".join), st.data())
    def test_any_cut(self, text: bytes, draw: st.DataObject) -> None:
        """Whole, byte by byte and cut anywhere: the same requests and the same errors."""
        expected = whole(text, small=True)
        single = [text[place : place + 1] for place in range(len(text))]
        self.assertEqual(in_pieces(single, small=True), expected)
        places = draw.draw(st.lists(st.integers(0, len(text)), max_size=5))
        edges = [0, *sorted(places), len(text)]
        pieces = [text[start:end] for start, end in pairwise(edges)]
        self.assertEqual(in_pieces(pieces, small=True), expected)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.lists(st.binary(max_size=80), max_size=6))
    def test_junk(self, pieces: list[bytes]) -> None:
        """Whatever arrives, nothing is raised and little is kept."""
        reader = parser(small=True)
        for piece in pieces:
            reader.feed(piece)
            self.assertLessEqual(len(reader._pending), SMALL_LINE + 1)
        reader.finish()

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.binary(max_size=SMALL_VALUE))
    def test_any_value(self, value: bytes) -> None:
        """Any value survives as a literal."""
        text = b"SET /a {%d}\n%b\n" % (len(value), value)
        self.assertEqual(whole(text, small=True), [Set("/a", value)])
