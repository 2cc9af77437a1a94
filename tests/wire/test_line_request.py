"""One line of a request: what it means, and what is wrong with it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import (
    Abort,
    Add,
    Auth,
    Begin,
    Blame,
    ChangeMembers,
    Check,
    Commit,
    Deed,
    Delete,
    Get,
    Help,
    List,
    Lock,
    Log,
    Members,
    Once,
    Outcome,
    Ping,
    Quit,
    Rev,
    Revert,
    Session,
    Set,
    Stat,
    Status,
    Sync,
    Unlock,
    Unwatch,
    Wait,
    Walk,
    Watch,
)  # fmt: skip
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

FORMS: list[tuple[bytes, Parsed]] = [
    (b"GET /a", Get("/a")),
    (b"get /a", Get("/a")),
    (b"gEt LOCAL Rev=7 /a/b", Get("/a/b", local=True, rev=7)),
    (b"GET rev=7 local /a", Get("/a", local=True, rev=7)),
    (b"SET /a hello, world", Set("/a", b"hello, world")),
    (b"SET if=0 /a again", Set("/a", b"again", if_rev=0)),
    (b"SET ephemeral ttl=2.5 /a x", Set("/a", b"x", ephemeral=True, ttl_ms=2500)),
    (b"SET ttl=0 id=w-1 /a x", Once("w-1", Set("/a", b"x", ttl_ms=0))),
    (b"ADD /jobs/j x", Add("/jobs/j", b"x")),
    (b"ADD ephemeral ttl=1 /a x", Add("/a", b"x", ephemeral=True, ttl_ms=1000)),
    (b"ADD seq id=w /a x", Once("w", Add("/a", b"x", sequential=True))),
    (b"add SEQ /jobs/j- x", Add("/jobs/j-", b"x", sequential=True)),
    (b"DEL /a", Delete("/a")),
    (b"DEL if=3 tree /a", Delete("/a", if_rev=3, tree=True)),
    (b"DEL id=%2F:x /a", Once("%2F:x", Delete("/a"))),
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
    (b"WATCH diff from=7 /a", Watch("/a", after_rev=7, diff=True)),
    (b"UNWATCH /a/**", Unwatch("/a/**")),
    (b"WAIT /a", Wait("/a")),
    (b"WAIT from=4 timeout=0.25 /a", Wait("/a", after_rev=4, timeout_seconds=0.25)),
    (b"WAIT timeout=2 /a", Wait("/a", timeout_seconds=2.0)),
    (b"REV", Rev()),
    (b"SYNC", Sync()),
    (b"STATUS", Status()),
    (b"members", Members()),
    (b"MEMBER plan remove n1", ChangeMembers(Deed.REMOVE, "n1", plan=True)),
    (b"PING", Ping()),
    (b"HELP", Help()),
    (b"HELP set", Help("set")),
    (b"QUIT", Quit()),
    (b"BEGIN", Begin()),
    (b"CHECK if=3 /a", Check("/a", if_rev=3)),
    (b"check TOKEN=9 if=3 /a", Check("/a", if_rev=3, token=9)),
    (b"COMMIT", Commit()),
    (b"COMMIT id=w", Once("w", Commit())),  # type: ignore[arg-type]
    (b"ABORT", Abort()),
    (b"SESSION", Session()),
    (b"SESSION timeout=0.5", Session(timeout_ms=500)),
    (b"SESSION resume=ab12:k-_", Session(resume=("ab12", "k-_"))),
    (b"session KEEP", Session(keep=True)),
    (b"SESSION end", Session(end=True)),
    (b"LOCK /a", Lock("/a")),
    (b"LOCK /a ", Lock("/a", b"")),
    (b"LOCK /a host 7", Lock("/a", b"host 7")),
    (
        b"LOCK shared wait=30 delay=1.5 id=w /a x",
        Once("w", Lock("/a", b"x", shared=True, wait_ms=30_000, delay_ms=1500)),
    ),
    (b"UNLOCK /a", Unlock("/a")),
    (b"UNLOCK id=w /a", Once("w", Unlock("/a"))),
    (b"OUTCOME w-1", Outcome("w-1")),
    (b"LOG /**", Log("/**")),
    (b"LOG local limit=3 /a/*", Log("/a/*", local=True, limit=3)),
    (b"BLAME /a", Blame("/a")),
    (b"BLAME local /a", Blame("/a", local=True)),
    (b"REVERT rev=3 /a", Revert("/a", rev=3)),
    (b"REVERT if=4 id=w rev=3 /a", Once("w", Revert("/a", rev=3, if_rev=4))),
    (b"AUTH s3cret with /all kinds=of {1}", Auth(b"s3cret with /all kinds=of {1}")),
]
"""Each verb with each of its options."""


def parse(line: bytes, grammar: Grammar | None = None) -> Parsed:
    """Return what one line means."""
    (request,) = RequestParser(grammar or Grammar()).feed(line + b"\n")
    return request


class Understood(SynchronousTestCase):
    """Requests as the protocol writes them."""

    def test_every_form(self) -> None:
        """Each verb is understood with each of its options, in any order and any case."""
        for line, command in FORMS:
            self.assertEqual(parse(line), command, repr(line))
        seen = {type(command) for _, command in FORMS} - {Once}
        self.assertEqual(seen, {verb.command for verb in VERBS})

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
            self.assertIsInstance(parse(line), error, repr(line))
            tagged = parse(b"#t " + line)
            assert isinstance(tagged, Tagged), line
            self.assertEqual(tagged.tag, b"#t ")
            self.assertIsInstance(tagged.request, error, repr(line))

    def test_verbs(self) -> None:
        """A word that is no verb is UNKNOWN_VERB, whatever bytes it is made of."""
        self.refused(
            UnknownVerb, b"FOO", b"FOO /a", b"/a", b"G\xc3\xa4T /a", b"\xff\xfb\x1f", b"GE T /a"
        )

    def test_session(self) -> None:
        """SESSION takes one option, and an id and a key as SESSION told them."""
        self.refused(
            BadRequest,
            b"SESSION resume=ab",
            b"SESSION resume=:k",
            b"SESSION resume=ab:k/",
            b"SESSION resume",
            b"SESSION timeout=-1",
            b"SESSION end=1",
            b"SESSION /a",
            b"SESSION 10",
        )

    def test_spans(self) -> None:
        """A span is never shorter than was asked for, 0 only where that was, and not endless."""
        for text, span in ((b"0.0000001", 1), (b"0", 0), (b"1.0001", 1001), (b"8.2", 8200)):
            self.assertEqual(parse(b"SET ttl=%b /a x" % text), Set("/a", b"x", ttl_ms=span))
        self.refused(BadRequest, b"SET ttl=9999999999 /a x", b"LOCK wait=315360001 /a")

    def test_words(self) -> None:
        """The id of a write is 1 to 64 printable characters."""
        for word in (b"", b"x" * 65, b"\xc3\xa4", b"\x07", b"\x7f"):
            self.refused(BadRequest, b"SET id=%b /a x" % word, b"OUTCOME " + word)
        self.refused(BadRequest, b"OUTCOME", b"OUTCOME a b", b"SET id /a x", b"GET id=w /a")
        longest = b"~" * 64
        self.assertEqual(parse(b"OUTCOME " + longest), Outcome(longest.decode()))

    def test_secret(self) -> None:
        """A secret is the rest of the line, or a literal; nothing of it is ever told."""
        self.refused(BadRequest, b"AUTH", b"AUTH ")
        self.assertEqual(parse(b"#t auth x "), Tagged(b"#t ", Auth(b"x ")))
        (request,) = RequestParser(Grammar()).feed(b"AUTH {3}\n\x00 y\n")
        self.assertEqual(request, Auth(b"\x00 y"))
        self.assertNotIn("s3cret", repr(parse(b"AUTH s3cret")))

    def test_options(self) -> None:
        """An option that a verb has not, has twice or has wrongly is BAD_REQUEST."""
        self.refused(
            BadRequest,
            b"GET foo /a",
            b"SET seq /a x",
            b"SET ephemeral=1 /a x",
            b"SET ttl=x /a x",
            b"ADD if=0 /a x",
            b"DEL ephemeral /a",
            b"LOCK if=1 /a",
            b"COMMIT if=1",
            b"BEGIN now",
            b"REVERT /a",
            b"REVERT if=3 /a",
            b"GET local local /a",
            b"GET rev=1 rev=1 /a",
            b"GET local=1 /a",
            b"GET rev /a",
            b"GET =1 /a",
            b"DEL \xff=1 /a",
        )
        error = parse(b"SET sticky /a x")
        assert isinstance(error, BadRequest)
        self.assertIn("'sticky'", error.text)

    def test_numbers(self) -> None:
        """A number is digits, not negative, not above the largest; seconds may have a fraction."""
        for number in (b"", b"-1", b"+1", b"1.5", b"x", b"1e3", b"0x1", b"%d" % 2**63, b"9" * 5000):
            self.refused(BadRequest, b"GET rev=%b /a" % number)
        for seconds in (b"", b"-1", b"nan", b"inf", b"1e3", b".", b"1.2.3", b"9" * 400):
            self.refused(BadRequest, b"WAIT timeout=%b /a" % seconds)
        self.refused(BadRequest, b"WALK limit=0 /a", b"WALK limit=x /a")
        for limit in (b"0", b"x"):
            error = parse(b"WALK limit=%b /a" % limit)
            assert isinstance(error, BadRequest)
            self.assertTrue(error.text.startswith("limit= wants a number from 1 to "), error.text)

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
