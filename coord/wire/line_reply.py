"""Replies of the line protocol: results, rows and events as bytes.

Every function returns whole lines, ended by LF. A tag (``b"#w "``, with its space) is put
in front by whoever sends the reply: each function returns one line, whose literal, if it
has one, is no line of its own, so that the tag stands in front of the result and nowhere else.

A value is printed on the line where a person can read it and a program cannot mistake it:
no control byte, valid UTF-8, not of the form ``{n}``, at most 1,024 bytes. Any other is
printed as ``{n}``, a line end, its n bytes, a line end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from coord.errors import CoordError
from coord.events import Event, Kind
from coord.limits import INLINE_VALUE_BYTES_MAX
from coord.paths import encode
from coord.results import Facts, Items, Point, Row, Value, Written

OK: Final = b"OK\n"
_CONTROLS: Final = bytes(range(0x20)) + b"\x7f"
_LITERAL: Final = re.compile(rb"\{[0-9]+\}")
_UNPRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_KINDS: Final = {Kind.SET: b"set", Kind.DEL: b"del"}


def is_plain(value: bytes) -> bool:
    """Say whether ``value`` can stand on the reply's own line."""
    size = len(value)
    if size > INLINE_VALUE_BYTES_MAX or len(value.translate(None, _CONTROLS)) != size:
        return False
    if value[:1] == b"{" and _LITERAL.fullmatch(value):
        return False
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def written(value: bytes) -> bytes:
    """Return ``value`` as it ends a line: itself or a literal; without the last line end."""
    return value if is_plain(value) else b"{%d}\n%b" % (len(value), value)


def point(result: Point) -> bytes:
    """Return ``OK rev``."""
    return b"OK %d\n" % result.rev


def done(result: Written) -> bytes:
    """Return ``OK rev``, and the path where the write was asked to name one."""
    if result.path is None:
        return b"OK %d\n" % result.rev
    return b"OK %d %b\n" % (result.rev, encode(result.path))


def value(result: Value) -> bytes:
    """Return ``VALUE rev value``."""
    return b"VALUE %d %b\n" % (result.rev, written(result.value))


def error(problem: CoordError) -> bytes:
    """Return ``ERR CODE text``, the text on one line whatever a client put into it."""
    text = _UNPRINTED.sub(" ", problem.text).strip()
    return f"ERR {problem.code} {text}".rstrip().encode("utf-8", "replace") + b"\n"


def facts(result: Facts) -> bytes:
    """Return ``STAT /path key=value ...``; ``-`` stands for what the node has not.

    ``bytes`` is 0 for a parent that nobody gave a value; its ``version`` is 0 too.
    """
    ttl = "-" if result.ttl_seconds is None else f"{result.ttl_seconds:g}"
    words = (
        f"rev={result.rev} created={result.created} version={result.version} "
        f"children={result.children} bytes={result.size_bytes or 0} "
        f"owner={result.owner or '-'} ttl={ttl} "
        f"child_rev={result.child_rev} child_version={result.child_version} "
        f"created_ms={result.created_ms} modified_ms={result.modified_ms}"
    )
    return b"STAT %b %b\n" % (encode(result.path), words.encode())


_REPLIES: Final[dict[type, Callable[[Any], bytes]]] = {
    Written: done,
    Point: point,
    Value: value,
    Facts: facts,
}


def reply(result: Written | Point | Value | Facts | CoordError) -> bytes:
    """Return the one line that answers a request with ``result``."""
    render = _REPLIES.get(type(result))
    if render is not None:
        return render(result)
    assert isinstance(result, CoordError), f"{result!r} is not one line"
    return error(result)


def row(found: Row) -> bytes:
    """Return ``NODE path rev value``, one row of a walk."""
    return b"NODE %b %d %b\n" % (encode(found.path), found.rev, written(found.value))


def name(child: str) -> bytes:
    """Return ``ITEM name``, one row of a list: a child's name as a path would hold it."""
    return b"ITEM %b\n" % encode(child)


def item(text: str) -> bytes:
    """Return ``ITEM text``, one row of a table whose rows are ready text."""
    return b"ITEM %b\n" % _UNPRINTED.sub(" ", text).encode("utf-8", "replace")


def lesson(text: str) -> bytes:
    """Return ``HELP text``, one row of what ``HELP`` teaches."""
    return b"HELP %b\n" % text.encode() if text else b"HELP\n"


def table(items: Items) -> list[bytes]:
    """Return a whole table: a line for each row, and the one that closes them."""
    return [*map(item, items.rows), end(items.rev)]


def end(rev: int) -> bytes:
    """Return ``END rev``, which closes rows that are a picture of ``rev``."""
    return b"END %d\n" % rev


def event(seen: Event) -> bytes:
    """Return ``EVENT rev set|del path [value]``."""
    head = b"EVENT %d %b %b" % (seen.rev, _KINDS[seen.kind], encode(seen.path))
    if seen.value is None:
        return head + b"\n"
    return b"%b %b\n" % (head, written(seen.value))
