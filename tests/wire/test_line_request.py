"""One line of a request: what it means, and what is wrong with it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import (
    Add,
    Delete,
    Get,
    Help,
    List,
    Members,
    Ping,
    Quit,
    Rev,
    Set,
    Stat,
    Status,
    Sync,
    Unwatch,
    Wait,
    Walk,
    Watch,
)
from coord.errors import (
    BadGlob,
    BadPath,
    BadRequest,
    CoordError,
    TooLarge,
    UnknownVerb,
)
from coord.verbs import VERBS
from coord.wire.line import Grammar, Parsed, RequestParser, Tagged
from coord.wire.line_request import KNOWN_NAMES_MAX, NUMBER_MAX


def parse(line: bytes, grammar: Grammar | None = None) -> Parsed:
    """Return what one line means."""
    (request,) = RequestParser(grammar or Grammar()).feed(line + b"\n")
    return request


class Understood(SynchronousTestCase):
    """Requests as the protocol writes them."""

    def test_every_form(self) -> None:
        """Each verb is understood with each of its options, in any order and any case."""
        cases: list[tuple[bytes, Parsed]] = [
            (b"GET /a", Get("/a")),
            (b"get /a", Get("/a")),
            (b"gEt LOCAL Rev=7 /a/b", Get("/a/b", local=True, rev=7)),
            (b"GET rev=7 local /a", Get("/a", local=True, rev=7)),
            (b"SET /a hello, world", Set("/a", b"hello, world")),
            (b"SET if=0 /a again", Set("/a", b"again", if_rev=0)),
            (b"ADD /jobs/j x", Add("/jobs/j", b"x")),
            (b"add SEQ /jobs/j- x", Add("/jobs/j-", b"x", sequential=True)),
            (b"DEL /a", Delete("/a")),
            (b"DEL if=3 tree /a", Delete("/a", if_rev=3, tree=True)),
            (b"STAT local /a", Stat("/a", local=True)),
            (b"STAT rev=1 /a", Stat("/a", rev=1)),
            (b"LIST /", List("/")),
            (b"LIST local rev=2 /a", List("/a", local=True, rev=2)),
            (b"WALK /**", Walk("/**")),
            (
                b"WALK local rev=9 after=/a%20b limit=3 /x/*",
                Walk("/x/*", local=True, rev=9, after="/a b", limit=3),
            ),
            (b"WATCH /a/?", Watch("/a/?")),
            (b"WATCH from=0 /a", Watch("/a", after_rev=0)),
            (b"UNWATCH /a/**", Unwatch("/a/**")),
            (b"WAIT /a", Wait("/a")),
            (b"WAIT from=4 timeout=0.25 /a", Wait("/a", after_rev=4, timeout_seconds=0.25)),
            (b"WAIT timeout=2 /a", Wait("/a", timeout_seconds=2.0)),
            (b"REV", Rev()),
            (b"SYNC", Sync()),
            (b"STATUS", Status()),
            (b"members", Members()),
            (b"PING", Ping()),
            (b"HELP", Help()),
            (b"HELP set", Help("set")),
            (b"QUIT", Quit()),
        ]
        for line, command in cases:
            self.assertEqual(parse(line), command, line)
        self.assertEqual({type(command) for _, command in cases}, {verb.command for verb in VERBS})

    def test_value_byte_for_byte(self) -> None:
        """A value is all that follows one space: more spaces, slashes, braces, any bytes."""
        for value in (
            b" two  spaces ",
            b"/b c",
            b"{5} and more",
            b"{",
            b"{}",
            b"{x}",
            b"\xff\x00\x01",
        ):
            self.assertEqual(parse(b"SET /a " + value), Set("/a", value))

    def test_carriage_return(self) -> None:
        """One CR before the line's end belongs to the end; another belongs to the value."""
        self.assertEqual(parse(b"SET /a x\r"), Set("/a", b"x"))
        self.assertEqual(parse(b"SET /a x\r\r"), Set("/a", b"x\r"))
        self.assertEqual(parse(b"GET /a\r"), Get("/a"))
        self.assertEqual(parse(b"PING\r"), Ping())

    def test_empty_value(self) -> None:
        """A space after the path and nothing more is the empty value."""
        self.assertEqual(parse(b"SET /a "), Set("/a", b""))
        self.assertEqual(parse(b"ADD seq /a "), Add("/a", b"", sequential=True))

    def test_generous_spaces(self) -> None:
        """Spaces before the path, and at the end where no value is expected, do no harm."""
        self.assertEqual(parse(b"  GET   local  /a  "), Get("/a", local=True))
        self.assertEqual(parse(b"PING "), Ping())
        self.assertEqual(parse(b"SET   /a  x"), Set("/a", b" x"))

    def test_percent(self) -> None:
        """What a line cannot hold in a path is written percent-encoded."""
        self.assertEqual(parse(b"GET /a%20b%25%0a"), Get("/a b%\n"))
        self.assertEqual(parse(b"SET /a%20b c d"), Set("/a b", b"c d"))
        self.assertEqual(parse("GET /grün".encode()), Get("/grün"))
        self.assertEqual(parse(b"WATCH /a%2A"), Watch("/a%2A"))

    def test_tags(self) -> None:
        """A tag stands before the request and comes back as it was written."""
        self.assertEqual(parse(b"#w GET /a"), Tagged(b"#w ", Get("/a")))
        self.assertEqual(parse(b"#W1 get local /a"), Tagged(b"#W1 ", Get("/a", local=True)))
        longest = b"#" + b"x" * 32
        self.assertEqual(parse(longest + b" PING"), Tagged(longest + b" ", Ping()))

    def test_largest_number(self) -> None:
        """Numbers go up to the largest revision there can be, leading zeros or not."""
        self.assertEqual(parse(b"GET rev=%d /a" % NUMBER_MAX), Get("/a", rev=NUMBER_MAX))
        self.assertEqual(parse(b"GET rev=%b7 /a" % (b"0" * 100)), Get("/a", rev=7))
        self.assertEqual(parse(b"GET rev=000 /a"), Get("/a", rev=0))

    def test_many_names(self) -> None:
        """More names than are remembered are still understood, and memory stays bounded."""
        grammar = Grammar()
        parser = RequestParser(grammar)
        count = KNOWN_NAMES_MAX + 100
        requests = parser.feed(b"".join(b"GET /k%d\n" % number for number in range(count)))
        self.assertEqual(requests, [Get(f"/k{number}") for number in range(count)])
        self.assertLessEqual(len(grammar._paths), KNOWN_NAMES_MAX)


class Refused(SynchronousTestCase):
    """Requests with something wrong: the code says what kind, the text what."""

    def refused(self, error: type[CoordError], *lines: bytes) -> None:
        """Hold that each line is refused with ``error``, tagged or not."""
        for line in lines:
            self.assertIsInstance(parse(line), error, line)
            tagged = parse(b"#t " + line)
            assert isinstance(tagged, Tagged), line
            self.assertEqual(tagged.tag, b"#t ")
            self.assertIsInstance(tagged.request, error, line)

    def test_verbs(self) -> None:
        """A word that is no verb is UNKNOWN_VERB, whatever bytes it is made of."""
        self.refused(
            UnknownVerb, b"FOO", b"FOO /a", b"/a", b"G\xc3\xa4T /a", b"\xff\xfb\x1f", b"GE T /a"
        )

    def test_verbs_to_come(self) -> None:
        """Sessions, locks, transactions and secrets are not known yet."""
        for verb in (
            b"BEGIN",
            b"COMMIT",
            b"SESSION",
            b"LOCK /a",
            b"AUTH x",
            b"LOG /**",
            b"CHECK if=1 /a",
        ):
            self.refused(UnknownVerb, verb)

    def test_options(self) -> None:
        """An option that a verb has not, has twice or has wrongly is BAD_REQUEST."""
        self.refused(
            BadRequest,
            b"GET foo /a",
            b"SET ephemeral /a x",
            b"SET ttl=5 /a x",
            b"SET id=w /a x",
            b"GET local local /a",
            b"GET rev=1 rev=1 /a",
            b"GET local=1 /a",
            b"GET rev /a",
            b"GET =1 /a",
            b"DEL \xff=1 /a",
        )
        error = parse(b"SET ephemeral /a x")
        assert isinstance(error, BadRequest)
        self.assertIn("'ephemeral'", error.text)

    def test_numbers(self) -> None:
        """A number is digits, not negative, not above the largest; seconds may have a fraction."""
        for number in (b"", b"-1", b"+1", b"1.5", b"x", b"1e3", b"0x1", b"%d" % 2**63, b"9" * 5000):
            self.refused(BadRequest, b"GET rev=%b /a" % number)
        for seconds in (b"", b"-1", b"nan", b"inf", b"1e3", b".", b"1.2.3", b"9" * 400):
            self.refused(BadRequest, b"WAIT timeout=%b /a" % seconds)
        self.refused(BadRequest, b"WALK limit=0 /a")

    def test_operands(self) -> None:
        """A path, a value or a word that is missing or too many is BAD_REQUEST."""
        self.refused(
            BadRequest,
            b"GET",
            b"GET foo",
            b"SET /a",
            b"ADD /a",
            b"SET",
            b"GET /a b",
            b"DEL /a /b",
            b"WATCH /a b",
            b"PING pong",
            b"REV /a",
            b"HELP SET GET",
            b"HELP /a",
        )

    def test_paths(self) -> None:
        """What is no path is BAD_PATH, and one that is too long or too deep TOO_LARGE."""
        for path in (
            b"//",
            b"/a//b",
            b"/a/",
            b"/.",
            b"/a/../b",
            b"/%00",
            b"/\xff",
            b"/%ff",
            b"/a%2",
            b"/%2f",
            b"/\x07",
        ):
            self.refused(BadPath, b"GET " + path, b"SET %b x" % path, b"GET local " + path)
        self.refused(BadPath, b"WALK after=a /**", b"WALK after=/a/ /**")
        self.refused(TooLarge, b"GET /" + b"x" * 5000, b"GET " + b"/x" * 200)

    def test_globs(self) -> None:
        """What is no glob is BAD_GLOB."""
        for glob in (b"//", b"/a/", b"/*/../x", b"/\xff*", b"/%zz"):
            self.refused(BadGlob, b"WALK " + glob, b"WATCH " + glob, b"WAIT " + glob)

    def test_tags(self) -> None:
        """A tag that is none is BAD_REQUEST; so is a tag with nothing behind it."""
        for tag in (b"#", b"#a-b", b"#" + b"x" * 33, b"#\xc3\xa4"):
            self.assertIsInstance(parse(tag + b" PING"), BadRequest)
        tagged = parse(b"#t")
        assert isinstance(tagged, Tagged)
        self.assertIsInstance(tagged.request, BadRequest)

    def test_long_value(self) -> None:
        """A value on the line may be longer than this node takes."""
        grammar = Grammar(value_bytes_max=10)
        self.assertEqual(parse(b"SET /a 0123456789", grammar), Set("/a", b"0123456789"))
        self.assertIsInstance(parse(b"SET /a 0123456789A", grammar), TooLarge)
