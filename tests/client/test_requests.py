"""Requests as bytes: what the client writes is what the server reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.client.requests import exactly, glob_line, line, lines
from coord.errors import BadGlob, BadPath, BadRequest, CoordError, TooLarge
from coord.limits import PATH_BYTES_MAX, SKIPPED_BYTES_MAX
from coord.paths import Glob
from coord.wire.line import Grammar, RequestParser

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
PARTS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3)
PATHS = st.one_of(st.just("/"), PARTS.map(lambda parts: "/" + "/".join(parts)))
GLOBS = st.one_of(PATHS.map(exactly), st.sampled_from(["/**", "/a/*", "/%2A?", "/**/x"]))
REVS = st.one_of(st.none(), st.integers(0, 2**63 - 1))
VALUES = st.one_of(st.binary(), st.sampled_from([b"", b"{3}", b"{", b" x", b"x\r", b"\n"]))
SECONDS = st.one_of(st.none(), st.integers(0, 10**6).map(lambda number: number / 1000))
SPANS = st.one_of(st.none(), st.integers(0, 10**9))
WORDS = st.text("abcXYZ019-_.", min_size=1, max_size=64)
PLAIN = st.one_of(
    st.builds(commands.Set, PATHS, VALUES, REVS, st.booleans(), SPANS),
    st.builds(commands.Add, PATHS, VALUES, st.booleans(), st.booleans(), SPANS),
    st.builds(commands.Revert, PATHS, st.integers(0, 2**63 - 1), REVS),
    st.builds(commands.Unlock, PATHS),
    st.builds(
        commands.Lock,
        PATHS,
        st.one_of(st.none(), VALUES),
        st.booleans(),
        st.integers(0, 10**9),
        st.integers(0, 10**9),
    ),
)
SESSIONS = st.one_of(
    st.builds(commands.Session, st.integers(1, 10**8)),
    st.sampled_from([commands.Session(keep=True), commands.Session(end=True)]),
    st.just(commands.Session(resume=("0123456789abcdef", "k-_9"))),
)
CHANGES = [
    commands.ChangeMembers(commands.Deed.ADD, "n4", "h:1", is_observer=True),
    commands.ChangeMembers(commands.Deed.REMOVE, "n4", force=True, plan=True),
    commands.ChangeMembers(commands.Deed.PROMOTE, "n4"),
    commands.ChangeMembers(commands.Deed.REPLACE, "n1", "[::1]:1", "n5"),
]
COMMANDS = st.one_of(
    PLAIN,
    st.builds(commands.Once, WORDS, PLAIN),
    SESSIONS,
    st.builds(commands.Auth, st.binary(min_size=1, max_size=40)),
    st.builds(commands.Outcome, WORDS),
    st.builds(commands.Log, GLOBS, st.booleans(), st.one_of(st.none(), st.integers(1, 99))),
    st.builds(commands.Blame, PATHS, st.booleans()),
    st.builds(commands.Watch, GLOBS, st.integers(0, 9), st.booleans()),
    st.builds(commands.Delete, PATHS, REVS, st.booleans()),
    st.builds(commands.Get, PATHS, st.booleans(), REVS),
    st.builds(commands.Stat, PATHS, st.booleans(), REVS),
    st.builds(commands.List, PATHS, st.booleans(), REVS),
    st.builds(
        commands.Walk,
        GLOBS,
        st.booleans(),
        REVS,
        st.one_of(st.none(), PATHS),
        st.one_of(st.none(), st.integers(1, 10**6)),
    ),
    st.sampled_from(CHANGES),
    st.builds(commands.Watch, GLOBS, REVS),
    st.builds(commands.Unwatch, GLOBS),
    st.builds(commands.Wait, GLOBS, REVS, SECONDS),
    st.builds(commands.Help, st.sampled_from([None, "GET"])),
    st.sampled_from([kind() for kind in (commands.Sync, commands.Rev, commands.Quit)]),
    st.sampled_from([kind() for kind in (commands.Status, commands.Members, commands.Ping)]),
)


class Lines(SynchronousTestCase):
    """The client's writing and the server's reading are each other's inverse."""

    @given(st.lists(COMMANDS, max_size=5))
    def test_read_back(self, asked: list[commands.Command]) -> None:
        """A server understands every command as the one that was meant."""
        content = b"".join(line(command) for command in asked)
        self.assertEqual(RequestParser(Grammar()).feed(content), asked)

    @given(st.text())
    def test_any_path(self, path: str) -> None:
        """A text that is no path is refused before anything is sent."""
        try:
            written = line(commands.Get(path))
        except (BadPath, TooLarge):
            return
        self.assertEqual(RequestParser(Grammar()).feed(written), [commands.Get(path)])

    @given(st.text(st.one_of(st.characters(), st.sampled_from("/*?% \n{2}A"))))
    def test_any_glob(self, glob: str) -> None:
        """A text that is no glob is refused, one that is means the same to the server."""
        try:
            written = glob_line(glob)
        except CoordError:
            return
        (asked,) = RequestParser(Grammar()).feed(b"WATCH %b\n" % written)
        assert isinstance(asked, commands.Watch)
        self.assertEqual(asked.glob, written.decode())

    @given(PATHS, PATHS)
    def test_exactly(self, path: str, other: str) -> None:
        """The glob of a path matches it and no other."""
        glob = Glob.parse(exactly(path).encode())
        self.assertTrue(glob.matches(path))
        self.assertEqual(glob.matches(other), path == other)

    def test_refused_here(self) -> None:
        """What would end the connection, or could not be written, is never sent."""
        huge = bytes(SKIPPED_BYTES_MAX + 1)
        self.assertRaises(TooLarge, line, commands.Set("/a", huge))
        self.assertRaises(BadPath, line, commands.Get("/\ud800"))
        self.assertRaises(BadGlob, line, commands.Watch("/\ud800"))
        self.assertRaises(BadPath, line, commands.Walk("/**", after="a"))
        self.assertRaises(TooLarge, line, commands.Get("/" + "x" * PATH_BYTES_MAX))
        for word in ("", "a b", "a\nDEL", "x" * 65, "\u00e4"):
            self.assertRaises(BadRequest, line, commands.Outcome(word))
            self.assertRaises(BadRequest, line, commands.Once(word, commands.Unlock("/a")))
            transaction = commands.Transaction((commands.Look("/a"),))
            self.assertRaises(BadRequest, lines, commands.Once(word, transaction))
