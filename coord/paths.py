"""Paths and globs: the one grammar of names.

A *path* inside the program is text such as ``/services/web/10.0.0.7:80``: decoded,
valid, ``/`` for the root. Only front ends see the percent-encoded form of a line.

A *glob* is kept as written (percent-encoded, because ``%2A`` is a star and ``*`` a
wildcard) and compiled once by `Glob.parse`. As in Doozer, ``?`` stands for one
character of a component, ``*`` for any characters of one component and ``**`` for any
characters across components.

*Path order* puts a node before its children and siblings by code point. That is the
order of the paths' text with ``/`` replaced by NUL, which no path contains: so
``order_key`` turns the tree into one sorted list.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from coord.errors import BadGlob, BadPath, TooLarge
from coord.limits import GLOB_PIECES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX

ROOT: Final = "/"
CONTROL: Final = "/ctl"
"""The cluster's own part of the tree: read and watched by all, written by itself."""

_BAD_COMPONENT: Final = re.compile(r"//|/\.{1,2}(?:/|\Z)|\x00|[\ud800-\udfff]")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_WILD: Final = re.compile(r"(\*\*|\*|\?)")
_SOURCE: Final = {"**": "(?:.*)", "*": "(?:[^/]*)", "?": "[^/]"}
_WILDCARDS: Final = frozenset(_SOURCE)
_UNSAFE: Final = re.compile(rb"[\x00-\x20%\x7f]")


def validate(path: str) -> str:
    """Return ``path`` if it is one; raise `BadPath` or `TooLarge` if not."""
    if path == ROOT:
        return path
    if not path.startswith("/"):
        raise BadPath("a path begins with /")
    if path.endswith("/"):
        raise BadPath("a path does not end with /")
    if _BAD_COMPONENT.search(path):
        raise BadPath("a path has no empty part, no . or .., and no NUL")
    if len(path) > PATH_BYTES_MAX or len(path.encode()) > PATH_BYTES_MAX:
        raise TooLarge(f"a path has at most {PATH_BYTES_MAX} bytes")
    if path.count("/") > PATH_DEPTH_MAX:
        raise TooLarge(f"a path has at most {PATH_DEPTH_MAX} parts")
    return path


def decode(written: bytes) -> str:
    """Return the path that a line wrote as ``written``: UTF-8, percent-encoded."""
    return validate(_unescape(written, BadPath) if b"%" in written else _text(written, BadPath))


def encode(path: str) -> bytes:
    """Return ``path`` as a line writes it: space, control bytes and ``%`` encoded."""
    raw = path.encode()
    if _UNSAFE.search(raw):
        return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw)
    return raw


def parent(path: str) -> str:
    """Return the path above ``path``; the root's is the root."""
    return path.rpartition("/")[0] or ROOT


def order_key(path: str) -> str:
    """Return the text whose order is path order: ``/`` as NUL, the root empty."""
    return path.replace("/", "\0") if path != ROOT else ""


def from_order_key(key: str) -> str:
    """Return the path of an `order_key`."""
    return key.replace("\0", "/") or ROOT


class Glob(msgspec.Struct, frozen=True):
    """A compiled glob.

    ``written`` is what the client wrote. ``prefix`` is the longest path of whole
    components without a wildcard that every match lies at or below; ``literal`` says
    that the glob has no wildcard, so that it matches ``prefix`` alone.
    """

    written: str
    prefix: str
    literal: bool
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, written: bytes) -> Glob:
        """Compile what a line wrote; raise `BadGlob` or `TooLarge`."""
        text = _text(written, BadGlob)
        pieces = [
            piece if piece in _WILDCARDS else _unescape(piece.encode(), BadGlob)
            for piece in _WILD.split(text)
            if piece
        ]
        if len(pieces) > GLOB_PIECES_MAX:
            raise TooLarge(f"a glob has at most {GLOB_PIECES_MAX} parts")
        try:
            validate("".join("x" if piece in _WILDCARDS else piece for piece in pieces))
        except BadPath as error:
            raise BadGlob(error.text) from None
        head = pieces[0]  # validate() saw to it that it begins with a slash
        literal = len(pieces) == 1
        prefix = head if literal else (head.rpartition("/")[0] or ROOT)
        return cls(text, prefix, literal, re.compile(_pattern(pieces), re.DOTALL))

    def matches(self, path: str) -> bool:
        """Say whether ``path`` is one of those meant."""
        if self.literal:
            return path == self.prefix
        return self.pattern.fullmatch(path) is not None


def _pattern(pieces: list[str]) -> str:
    """Return a regular expression that no path can make slow.

    Where a wildcard is followed by another of its kind, the first place at which the
    text between them fits is as good as any later one, so it is taken for good (an
    atomic group). Time is then at most the square of the path's length, whatever the
    glob, where naive backtracking would be a power as high as the number of stars.
    """
    text = "".join(_SOURCE.get(piece) or re.escape(piece) for piece in pieces)
    *spans, last = text.split(_SOURCE["**"])
    if not spans:
        return _span(last, final=True)
    first, *middle = spans
    return "".join(
        (
            _span(first, final=False),
            *(f"(?>.*?{_span(span, final=False)})" for span in middle),
            f".*{_span(last, final=True)}",
        )
    )


def _span(text: str, *, final: bool) -> str:
    """Return the expression of what stands between two ``**``, or beside the only one."""
    star = _SOURCE["*"]
    head, *rest = text.split(star)
    if not rest:
        return head
    *middle, last = rest
    between = "".join(f"(?>[^/]*?{piece})" for piece in middle)
    return f"{head}{between}" + (f"{star}{last}" if final else f"(?>[^/]*?{last})")


def _text(raw: bytes, error: type[BadPath | BadGlob]) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise error("not valid UTF-8") from None


def _unescape(raw: bytes, error: type[BadPath | BadGlob]) -> str:
    def one(found: re.Match[bytes]) -> bytes:
        digits = found[1]
        if digits is None:
            raise error("% is followed by two hexadecimal digits")
        if digits.upper() == b"2F":
            raise error("a / cannot be part of a name")
        return bytes((int(digits, 16),))

    return _text(_ESCAPE.sub(one, raw), error)
