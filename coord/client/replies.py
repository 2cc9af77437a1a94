"""Replies of the line protocol, from chunks of bytes as they happen to arrive.

`ReplyParser.feed` returns what a chunk completed: for each line its tag and its meaning. What
is no reply raises `Junk`, after which the connection is of no use; nothing else is ever raised.
Memory is bounded: a line and a literal have a longest length.

Only a value is ever followed by a literal: ``VALUE``, ``NODE`` and ``EVENT ... set`` have one. A
child called ``{3}`` is just a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from coord import paths
from coord.client.errors import Junk
from coord.errors import CATALOGUE, CoordError
from coord.events import Event, Kind, SessionEvent, Trouble
from coord.limits import LITERAL_BYTES_MAX, REPLY_LINE_BYTES_MAX
from coord.results import Facts, Row, Value, Written


class Done(msgspec.Struct, frozen=True):
    """``OK`` and nothing more."""


class Taken(msgspec.Struct, frozen=True):
    """``OK QUEUED``: a line of a transaction was taken."""


class Allowed(msgspec.Struct, frozen=True, gc=False):
    """What a secret allows: ``read``, ``write`` or ``admin``."""

    level: str


class Credentials(msgspec.Struct, frozen=True, gc=False):
    """A session, the key to take it up with (empty where it was not told), and its timeout."""

    session: str
    key: str
    timeout_ms: int

    def __repr__(self) -> str:
        return f"Credentials({self.session!r}, ..., {self.timeout_ms})"


class Differs(msgspec.Struct, frozen=True, gc=False):
    """A watch begins with how things differ: rows of a picture of ``rev`` follow."""

    rev: int


class Item(msgspec.Struct, frozen=True, gc=False):
    """One row of a table, a list or a lesson, as it was written."""

    text: bytes


class End(msgspec.Struct, frozen=True, gc=False):
    """The end of rows, and the revision that they are a picture of."""

    rev: int


Reply: TypeAlias = (
    Done | Taken | Allowed | Credentials | Differs
    | Written | Value | Row | Item | End | Facts | Event | SessionEvent | CoordError
)  # fmt: skip
Told: TypeAlias = tuple[bytes, Reply]
"""The tag, with its ``#``, or nothing; and what was said."""

_LITERAL: Final = re.compile(rb"\{([0-9]{1,12})\}")
_KINDS: Final = {b"set": Kind.SET, b"del": Kind.DEL}
_TROUBLES: Final = {kind.value.encode(): kind for kind in Trouble}
_DONE: Final = Done()
_WORDS: Final[dict[bytes, Reply]] = {
    b"": _DONE,
    b"QUEUED": Taken(),
    **{word.encode(): Allowed(word) for word in ("read", "write", "admin")},
}
_TIMEOUT: Final = b"timeout="


class ReplyParser:
    """Turns what one server sends into replies, in order."""

    def __init__(self) -> None:
        self._pending = b""
        self._literal = bytearray()
        self._size = -1
        self._make: Callable[[bytes], Reply] | None = None
        self._tag = b""

    def feed(self, chunk: bytes) -> list[Told]:
        """Return the replies that ``chunk`` completed; raise `Junk` for what is none."""
        done: list[Told] = []
        if self._size >= 0:
            self._literal += chunk
            if len(self._literal) <= self._size:
                return done
            chunk = bytes(self._literal)
            self._literal.clear()
        elif self._pending:
            chunk = self._pending + chunk
        try:
            self._read(chunk, done)
        except (ValueError, IndexError, KeyError, CoordError) as error:
            raise Junk(str(error)) from None
        return done

    def _read(self, content: bytes, done: list[Told]) -> None:
        start = 0
        while True:
            if self._size >= 0:
                end = start + self._size
                if len(content) <= end:
                    self._literal += content[start:]
                    self._pending = b""
                    return
                if content[end] != 10:
                    raise Junk("after the bytes of a literal comes a line end")
                self._finish(content[start:end], done)
            else:
                end = content.find(b"\n", start)
                if end < 0:
                    break
                self._line(content[start:end], done)
            start = end + 1
        self._pending = content[start:]
        if len(self._pending) > REPLY_LINE_BYTES_MAX:
            raise Junk("a line without an end")

    def _line(self, line: bytes, done: list[Told]) -> None:
        tag = b""
        if line[:1] == b"#":
            tag, _, line = line.partition(b" ")
        word, _, rest = line.partition(b" ")
        self._tag = tag
        reply = _READERS[word](self, rest)
        if reply is not None:
            done.append((tag, reply))

    def _finish(self, value: bytes, done: list[Told]) -> None:
        make = self._make
        assert make is not None, "a literal belongs to a line"
        self._size, self._make = -1, None
        done.append((self._tag, make(value)))

    def _valued(self, value: bytes, make: Callable[[bytes], Reply]) -> Reply | None:
        """Return the reply that ends in ``value``, or wait for the literal that it announces."""
        found = _LITERAL.fullmatch(value) if value[:1] == b"{" else None
        if found is None:
            return make(value)
        self._size = int(found[1])
        if self._size > LITERAL_BYTES_MAX:
            raise Junk(f"a literal of {self._size} bytes")
        self._make = make
        return None

    # -- one for each first word ------------------------------------------------------------
    def _ok(self, rest: bytes) -> Reply:
        word, space, more = rest.partition(b" ")
        if not space:
            return Written(_number(word), None) if word[:1].isdigit() else _WORDS[word]
        if more.startswith(_TIMEOUT):
            return _credentials(word, more[len(_TIMEOUT) :])
        if more == b"diff":
            return Differs(_number(word))
        return Written(_number(word), paths.decode(more))

    def _value(self, rest: bytes) -> Reply | None:
        rev, space, value = rest.partition(b" ")
        if not space:
            raise Junk("VALUE without a value")
        number = _number(rev)
        if value[:1] != b"{":
            return Value(number, value)
        return self._valued(value, lambda content: Value(number, content))

    def _node(self, rest: bytes) -> Reply | None:
        name, rev, value = rest.split(b" ", 2)
        path, number = paths.decode(name), _number(rev)
        return self._valued(value, lambda content: Row(path, number, content))

    def _event(self, rest: bytes) -> Reply | None:
        rev, kind, target = rest.split(b" ", 2)
        number = _number(rev)
        if kind in _TROUBLES:
            return SessionEvent(number, _TROUBLES[kind], target.decode("ascii"))
        if _KINDS[kind] is Kind.DEL:
            return Event(number, Kind.DEL, paths.decode(target))
        name, space, value = target.partition(b" ")
        if not space:
            raise Junk("EVENT set without a value")
        path = paths.decode(name)
        return self._valued(value, lambda content: Event(number, Kind.SET, path, content))

    def _item(self, rest: bytes) -> Reply:
        return Item(rest)

    def _end(self, rest: bytes) -> Reply:
        return End(_number(rest))

    def _stat(self, rest: bytes) -> Reply:
        name, *words = rest.split(b" ")
        return _facts(paths.decode(name), dict(word.decode().split("=", 1) for word in words))

    def _err(self, rest: bytes) -> Reply:
        code, _, text = rest.decode("utf-8", "replace").partition(" ")
        if not code:
            raise Junk("ERR without a code")
        kind = CATALOGUE.get(code)
        return CoordError(f"{code} {text}") if kind is None else kind(text)


_READERS: Final[dict[bytes, Callable[[ReplyParser, bytes], Reply | None]]] = {
    b"OK": ReplyParser._ok,
    b"VALUE": ReplyParser._value,
    b"NODE": ReplyParser._node,
    b"EVENT": ReplyParser._event,
    b"ITEM": ReplyParser._item,
    b"HELP": ReplyParser._item,
    b"END": ReplyParser._end,
    b"STAT": ReplyParser._stat,
    b"ERR": ReplyParser._err,
}


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19:
        raise Junk(f"no number: {digits[:40]!r}")
    return int(digits)


def _credentials(word: bytes, seconds: bytes) -> Credentials:
    session, _, key = word.decode("ascii").partition(":")
    timeout_ms = round(float(seconds) * 1000)
    if not session or timeout_ms <= 0:
        raise Junk("a session without an id or a timeout")
    return Credentials(session, key, timeout_ms)


def _facts(path: str, facts: dict[str, str]) -> Facts:
    """Return the facts that a ``STAT`` line told; more than we know are passed over."""
    version = int(facts["version"])
    return Facts(
        path=path,
        rev=int(facts["rev"]),
        created=int(facts["created"]),
        version=version,
        child_rev=int(facts["child_rev"]),
        child_version=int(facts["child_version"]),
        children=int(facts["children"]),
        size_bytes=int(facts["bytes"]) if version else None,
        created_ms=int(facts["created_ms"]),
        modified_ms=int(facts["modified_ms"]),
        owner=None if facts["owner"] == "-" else facts["owner"],
        ttl_seconds=None if facts["ttl"] == "-" else float(facts["ttl"]),
        holders=tuple(facts["holder"].split(",")) if facts.get("holder", "-") != "-" else (),
        shared=facts.get("shared") == "yes",
        token=int(facts["token"]) if facts.get("token", "-") != "-" else None,
        waiting=int(facts.get("waiting", "0")),
    )
