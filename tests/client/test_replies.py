"""Replies from bytes: what the server writes is what the client reads, however it is cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.client.errors import Junk
from coord.client.replies import Done, End, Item, ReplyParser
from coord.errors import CATALOGUE, CoordError
from coord.events import Event, Kind
from coord.limits import LITERAL_BYTES_MAX, REPLY_LINE_BYTES_MAX
from coord.results import Facts, Row, Value, Written
from coord.wire import line_reply
from tests.client.test_requests import PATHS, VALUES

REVS = st.integers(0, 2**63 - 1)
BIG = st.sampled_from([b"x" * 1024, b"x" * 1025, b"\n" * 3000, b"{5}\nOK\n"])
CONTENT = st.one_of(VALUES, BIG)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))


def _stat(path: str, rev: int, version: int, size: int, ttl: float | None) -> Facts:
    return Facts(
        path=path, rev=rev, created=rev, version=version, child_rev=0, child_version=0,
        children=size, size_bytes=size if version else None, created_ms=rev, modified_ms=rev,
        owner="s1" if ttl else None, ttl_seconds=ttl,
    )  # fmt: skip


def _event(event: Event) -> tuple[Any, bytes]:
    return event, line_reply.event(event)


SETS = st.builds(Event, REVS, st.just(Kind.SET), PATHS, CONTENT)
DELS = st.builds(Event, REVS, st.just(Kind.DEL), PATHS)
PAIRS = st.one_of(
    st.builds(Value, REVS, CONTENT).map(lambda one: (one, line_reply.value(one))),
    st.builds(Row, PATHS, REVS, CONTENT).map(lambda one: (one, line_reply.row(one))),
    st.one_of(SETS, DELS).map(_event),
    st.builds(Written, REVS).map(lambda one: (one, line_reply.done(one))),
    st.builds(Written, REVS, PATHS).map(lambda one: (one, line_reply.done(one))),
    st.builds(_stat, PATHS, REVS, st.integers(0, 2), st.integers(0, 9), st.sampled_from([None, 2]))
    .map(lambda one: (one, line_reply.facts(one))),
    REVS.map(lambda rev: (End(rev), line_reply.end(rev))),
    st.just((Done(), line_reply.OK)),
    st.sampled_from(["{3}", "a=b", "", "x y"]).map(
        lambda text: (Item(text.encode()), line_reply.item(text))
    ),
    st.builds(lambda kind, text: kind(text.strip()), st.sampled_from([*CATALOGUE.values()]), TEXTS)
    .map(lambda one: (one, line_reply.error(one))),
)  # fmt: skip
TAGS = st.sampled_from([b"", b"#1", b"#w"])
SAID = st.lists(st.tuples(TAGS, PAIRS), max_size=6)


def spoken(said: list[tuple[bytes, tuple[Any, bytes]]]) -> tuple[list[Any], bytes]:
    """Return what is to be understood, and the bytes."""
    content = b"".join((tag + b" " if tag else b"") + text for tag, (_, text) in said)
    return [(tag, one) for tag, (one, _) in said], content


class Understood(SynchronousTestCase):
    """Every reply of the server is understood."""

    @given(SAID)
    def test_whole(self, said: Any) -> None:
        """Replies that come together are told apart."""
        meant, content = spoken(said)
        self.assertEqual(ReplyParser().feed(content), meant)

    @given(SAID)
    def test_bytewise(self, said: Any) -> None:
        """Replies that come byte by byte are the same."""
        meant, content = spoken(said)
        parser = ReplyParser()
        got = [one for byte in content for one in parser.feed(bytes([byte]))]
        self.assertEqual(got, meant)

    @given(SAID, st.data())
    def test_cut(self, said: Any, data: st.DataObject) -> None:
        """Replies that come in pieces are the same, wherever they are cut."""
        meant, content = spoken(said)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
        parser = ReplyParser()
        got = []
        for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            got += parser.feed(content[start:end])
        self.assertEqual(got, meant)

    def test_unknown_code(self) -> None:
        """An error whose code we do not know is an error all the same."""
        ((_, error),) = ReplyParser().feed(b"ERR NEW_ONE some text\n")
        self.assertIs(type(error), CoordError)
        self.assertEqual(str(error), "NEW_ONE some text")


class Misunderstood(SynchronousTestCase):
    """What is no reply raises its own error and nothing else."""

    @given(st.lists(st.binary(), max_size=6))
    def test_noise(self, chunks: list[bytes]) -> None:
        """Noise is replies or junk."""
        self.listen(chunks)

    @given(SAID, st.data())
    def test_damaged(self, said: Any, data: st.DataObject) -> None:
        """Replies with a damaged byte are replies or junk."""
        _, content = spoken(said)
        damaged = bytearray(content + b"\n")
        damaged[data.draw(st.integers(0, len(content)))] = data.draw(st.integers(0, 255))
        self.listen([bytes(damaged)])

    def listen(self, chunks: list[bytes]) -> None:
        """Feed until there is junk."""
        parser = ReplyParser()
        try:
            for chunk in chunks:
                parser.feed(chunk)
        except Junk:
            pass

    def test_junk(self) -> None:
        """Each of these is junk."""
        for line in (
            b"HELLO", b"", b"OK x", b"OK -1", b"OK 1_0", b"OK 1 nopath", b"VALUE 1", b"VALUE x y",
            b"NODE /a x v", b"NODE /a", b"EVENT 1 moved /a", b"EVENT 1 set /a", b"EVENT 1 del a",
            b"STAT /a", b"STAT /a rev=x", b"STAT /a rev", b"ERR", b"END", b"END x", b"#1", b"#1 ",
            b"VALUE 1 {%d}" % (LITERAL_BYTES_MAX + 1), b"VALUE 1 {3}\nabcd", b"OK " + b"9" * 30,
        ):  # fmt: skip
            with self.assertRaises(Junk, msg=line):
                ReplyParser().feed(line + b"\n")

    def test_endless(self) -> None:
        """A line that does not end is junk before it fills the memory."""
        parser = ReplyParser()
        with self.assertRaises(Junk):
            for _ in range(2 + REPLY_LINE_BYTES_MAX // 1000):
                parser.feed(b"x" * 1000)
