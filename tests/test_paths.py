"""The grammar of paths and globs."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import paths
from coord.errors import BadGlob, BadPath, CoordError, TooLarge
from coord.limits import GLOB_PIECES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX
from coord.paths import Glob

calm = settings(derandomize=True, deadline=None, max_examples=200)

components = st.text(
    alphabet=st.sampled_from(list("ab.*?% \x01é\U0001f600")), min_size=1, max_size=4
).filter(lambda name: name not in (".", ".."))
valid_paths = st.lists(components, max_size=4).map(lambda names: "/" + "/".join(names))
plain_paths = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=4).map(
    lambda names: "/" + "/".join(names)
)
written_globs = st.lists(
    st.sampled_from(["a", "b", "/", "*", "**", "?", "/a", "/*", "/**"]), max_size=8
).map(lambda pieces: "/" + "".join(pieces))


def naive_matches(glob: str, path: str) -> bool:
    """Say whether a glob without escapes matches, straight from the protocol's sentence."""
    tokens: list[str] = []
    place = 0
    while place < len(glob):
        token = "**" if glob.startswith("**", place) else glob[place]
        tokens.append(token)
        place += len(token)

    @lru_cache(None)
    def rest(at: int, of: int) -> bool:
        if at == len(tokens):
            return of == len(path)
        token = tokens[at]
        more = of < len(path) and (token == "**" or path[of] != "/")
        if token in ("*", "**"):
            return rest(at + 1, of) or (more and rest(at, of + 1))
        if token == "?":
            return more and rest(at + 1, of + 1)
        return of < len(path) and path[of] == token and rest(at + 1, of + 1)

    return rest(0, 0)


class PathTests(SynchronousTestCase):
    """What a path is, and how a line writes it."""

    def test_valid(self) -> None:
        """Any text makes a name: spaces, stars, dots among others, other scripts."""
        for path in ("/", "/a", "/a/b/c", "/...", "/.a", "/a b", "/*", "/é/\U0001f600", "/a\x01"):
            self.assertEqual(paths.validate(path), path)

    def test_invalid(self) -> None:
        """A path without its slash, with an empty part, with . or .. or NUL is none."""
        for path in ("", "a", "a/b", "//", "/a/", "/a//b", "/.", "/..", "/a/./b", "/../a", "/\0"):
            self.assertRaises(BadPath, paths.validate, path)

    def test_surrogates(self) -> None:
        """Half a character is not text."""
        self.assertRaises(BadPath, paths.validate, "/\ud800")

    def test_limits(self) -> None:
        """A path has a length, in bytes, and a depth beyond which it is too large."""
        paths.validate("/" + "a" * (PATH_BYTES_MAX - 1))
        self.assertRaises(TooLarge, paths.validate, "/" + "a" * PATH_BYTES_MAX)
        self.assertRaises(TooLarge, paths.validate, "/" + "é" * (PATH_BYTES_MAX // 2))
        paths.validate("/a" * PATH_DEPTH_MAX)
        self.assertRaises(TooLarge, paths.validate, "/a" * (PATH_DEPTH_MAX + 1))

    def test_decode(self) -> None:
        """Percent-encoded bytes are put together before they are read as UTF-8."""
        self.assertEqual(paths.decode(b"/a%20b/%C3%A9%25"), "/a b/é%")
        self.assertEqual(paths.decode("/é".encode()), "/é")

    def test_decode_refuses(self) -> None:
        """Broken escapes, broken UTF-8, hidden slashes, dots and NULs are refused."""
        for written in (b"/%", b"/%2", b"/%zz", b"/\xff", b"/%ff", b"/a%2Fb", b"/%2e%2E", b"/%00"):
            self.assertRaises(BadPath, paths.decode, written)

    @calm
    @given(valid_paths)
    def test_round_trip(self, path: str) -> None:
        """What a line writes for a path is read as that path, and holds no space or control."""
        written = paths.encode(path)
        self.assertEqual(paths.decode(written), path)
        self.assertTrue(all(byte > 0x20 and byte != 0x7F for byte in written))

    @calm
    @given(st.binary(max_size=12))
    def test_junk(self, written: bytes) -> None:
        """Junk is a path, or an error of its own; nothing else happens."""
        try:
            path = paths.decode(b"/" + written)
        except (BadPath, TooLarge):
            return
        self.assertEqual(paths.validate(path), path)

    def test_parent(self) -> None:
        """Above a node is its parent, above the root the root."""
        self.assertEqual(paths.parent("/a/b"), "/a")
        self.assertEqual(paths.parent("/a"), "/")
        self.assertEqual(paths.parent("/"), "/")

    @calm
    @given(valid_paths)
    def test_order_key_round_trip(self, path: str) -> None:
        """A path comes back from its order key."""
        self.assertEqual(paths.from_order_key(paths.order_key(path)), path)

    @calm
    @given(st.lists(valid_paths, max_size=8))
    def test_path_order(self, some: list[str]) -> None:
        """In path order a node comes before its children, siblings by code point."""

        def by_parts(path: str) -> list[str]:
            return path.split("/")[1:] if path != "/" else []

        self.assertEqual(sorted(some, key=paths.order_key), sorted(some, key=by_parts))


class GlobTests(SynchronousTestCase):
    """What a glob matches."""

    @calm
    @given(written_globs, plain_paths)
    def test_twin(self, written: str, path: str) -> None:
        """A glob matches what the sentence in the protocol says, and nothing else."""
        try:
            glob = Glob.parse(written.encode())
        except BadGlob:
            return
        self.assertEqual(glob.matches(path), naive_matches(written, path))

    @calm
    @given(written_globs, plain_paths)
    def test_prefix(self, written: str, path: str) -> None:
        """Whatever a glob matches is its prefix or lies below it."""
        try:
            glob = Glob.parse(written.encode())
        except BadGlob:
            return
        if glob.matches(path):
            below = paths.order_key(glob.prefix) + "\0"
            self.assertTrue(path == glob.prefix or paths.order_key(path).startswith(below))

    def test_question_mark(self) -> None:
        """A question mark is one character of a component."""
        glob = Glob.parse(b"/a?")
        self.assertTrue(glob.matches("/ab"))
        self.assertTrue(glob.matches("/aé"))
        for path in ("/a", "/abc", "/a/"):
            self.assertFalse(glob.matches(path))

    def test_star(self) -> None:
        """A star is any characters of one component."""
        glob = Glob.parse(b"/a/*/c")
        self.assertTrue(glob.matches("/a/bbb/c"))
        self.assertFalse(glob.matches("/a/b/b/c"))

    def test_two_stars(self) -> None:
        """Two stars are any characters across components."""
        glob = Glob.parse(b"/a/**")
        for path in ("/a/b", "/a/b/c/d"):
            self.assertTrue(glob.matches(path))
        for path in ("/a", "/ab", "/b/a/c"):
            self.assertFalse(glob.matches(path))

    def test_escapes(self) -> None:
        """An escaped wildcard is a character, and escaped text is what it stands for."""
        glob = Glob.parse(b"/%2A%3F%20")
        self.assertTrue(glob.literal)
        self.assertEqual(glob.prefix, "/*? ")
        self.assertTrue(glob.matches("/*? "))
        self.assertFalse(glob.matches("/ab "))

    def test_any_character(self) -> None:
        """A wildcard stands for a line break too."""
        self.assertTrue(Glob.parse(b"/*").matches("/a\nb"))

    def test_prefixes(self) -> None:
        """The prefix is made of the whole components before the first wildcard."""
        for written, prefix in (
            (b"/a/b", "/a/b"),
            (b"/a/b*", "/a"),
            (b"/a/*/c", "/a"),
            (b"/**", "/"),
            (b"/?", "/"),
            (b"/", "/"),
        ):
            self.assertEqual(Glob.parse(written).prefix, prefix)

    def test_refused(self) -> None:
        """What could match no path at all is refused."""
        for written in (b"", b"a", b"*", b"/a/", b"//*", b"/./*", b"/%zz*", b"/\xff*", b"/*%00"):
            self.assertRaises(BadGlob, Glob.parse, written)

    def test_too_many_pieces(self) -> None:
        """A glob has a limit of its own."""
        Glob.parse(b"/" + b"?a" * (GLOB_PIECES_MAX // 2 - 1))
        self.assertRaises(TooLarge, Glob.parse, b"/" + b"?a" * GLOB_PIECES_MAX)

    @calm
    @given(st.binary(max_size=12))
    def test_junk(self, written: bytes) -> None:
        """Junk is a glob, or an error of its own; nothing else happens."""
        try:
            glob = Glob.parse(b"/" + written)
        except CoordError as error:
            self.assertIn(type(error), (BadGlob, TooLarge))
            return
        glob.matches("/a")
