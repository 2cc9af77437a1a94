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
from typing import Any, Final, TypeAlias

from coord.errors import CoordError, Locked
from coord.events import Event, Kind, SessionEvent
from coord.limits import INLINE_VALUE_BYTES_MAX
from coord.paths import encode
from coord.results import (
    Aside,
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

OK: Final = b"OK\n"
_DAY_MS: Final = 86_400_000
_CONTROLS: Final = bytes(range(0x20)) + b"\x7f"
_LITERAL: Final = re.compile(rb"\{[0-9]+\}")
_UNPRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_KINDS: Final = {Kind.SET: b"set", Kind.DEL: b"del"}

Line: TypeAlias = Written | Granted | Queued | Committed | Point | Value | Facts | CoordError
"""What is answered by one line; of a transaction, the line after its rows."""


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

    ``bytes`` is 0 for a parent without a value. ``holder``, all of them with commas between,
    ``shared``, ``token`` and ``waiting`` are those of the lock that the node is.
    """
    ttl = "-" if result.ttl_seconds is None else seconds(result.ttl_seconds)
    token = "-" if result.token is None else result.token
    words = (
        f"rev={result.rev} created={result.created} version={result.version} "
        f"children={result.children} bytes={result.size_bytes or 0} "
        f"owner={result.owner or '-'} ttl={ttl} "
        f"child_rev={result.child_rev} child_version={result.child_version} "
        f"created_ms={result.created_ms} modified_ms={result.modified_ms} "
        f"holder={','.join(result.holders) or '-'} shared={'yes' if result.shared else 'no'} "
        f"token={token} waiting={result.waiting}"
    )
    return b"STAT %b %b\n" % (encode(result.path), words.encode())


def granted(result: Granted) -> bytes:
    """Return ``OK token``."""
    return b"OK %d\n" % result.token


def queued(result: Queued) -> bytes:
    """Return ``ERR LOCKED``: nobody waits for the lock here, but the session has its place."""
    return error(Locked("not granted yet: this session waits in the queue"))


def committed(result: Committed) -> bytes:
    """Return ``OK rev``, which closes what the lines of a transaction have to tell."""
    return b"OK %d\n" % result.rev


def part(found: Value | CoordError | str) -> bytes:
    """Return what one line of a transaction has to tell: what a ``GET`` saw, what ``ADD`` made."""
    if isinstance(found, Value):
        return value(found)
    return b"ITEM %b\n" % encode(found) if isinstance(found, str) else error(found)


def session(session_id: str, key: str, timeout_ms: int) -> bytes:
    """Return ``OK ID:KEY timeout=S``."""
    return f"OK {session_id}:{key} timeout={seconds(timeout_ms / 1000)}\n".encode()


def kept(session_id: str, timeout_ms: int) -> bytes:
    """Return ``OK ID timeout=S``."""
    return f"OK {session_id} timeout={seconds(timeout_ms / 1000)}\n".encode()


_REPLIES: Final[dict[type, Callable[[Any], bytes]]] = {
    Written: done,
    Granted: granted,
    Queued: queued,
    Committed: committed,
    Point: point,
    Value: value,
    Facts: facts,
}


def reply(result: Line) -> bytes:
    """Return the one line that answers a request with ``result``."""
    render = _REPLIES.get(type(result))
    if render is not None:
        return render(result)
    assert isinstance(result, CoordError), f"{result!r} is not one line"
    return error(result)


def row(found: Row) -> bytes:
    """Return ``NODE path rev value``, one row of a walk."""
    return b"NODE %b %d %b\n" % (encode(found.path), found.rev, written(found.value))


def aside(told: Aside) -> bytes:
    """Return ``ITEM what path``, what a lasting walk or watch tells beside its rows."""
    return b"ITEM %b %b\n" % (told.what.encode(), encode(told.path))


def lifetime(seen: Event) -> bytes:
    """Return ``ITEM ttl=S path``, which a lasting watch tells before such an event."""
    return aside(Aside(seen.path, f"ttl={seconds(seen.ttl_ms / 1000)}"))


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


def entry(change: Entry) -> bytes:
    """Return ``ITEM rev path verb author time``, one row of a log; an author is one word."""
    verb, author = change.verb or "-", encode(change.author) or b"-"
    words = (b"%d" % change.rev, encode(change.path), verb.encode(), author, moment(change.time_ms))
    return b"ITEM %b\n" % b" ".join(words)


def moment(time_ms: int) -> bytes:
    """Return a time since 1970 in ISO 8601, UTC, to the millisecond."""
    days, rest = divmod(time_ms, _DAY_MS)
    minutes, rest = divmod(rest, 60_000)
    year, month, day = _date(days)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (
        year, month, day, *divmod(minutes, 60), *divmod(rest, 1000)
    )  # fmt: skip


def seconds(span: float) -> str:
    """Return a span of time as a person would write it, to the millisecond."""
    return f"{span:.3f}".rstrip("0").rstrip(".")


def _date(days: int) -> tuple[int, int, int]:
    """Return year, month and day, so many days after the first of 1970.

    Years are taken to begin in March, so that the odd day of leap years comes last; 146,097 days
    are 400 years, after which all repeats itself.
    """
    era, day = divmod(days + 719_468, 146_097)  # from the first of March of the year 0
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month += 3 if month < 10 else -9
    return 400 * era + year + (month <= 2), month, day + 1


def end(rev: int) -> bytes:
    """Return ``END rev``, which closes rows that are a picture of ``rev``."""
    return b"END %d\n" % rev


def event(seen: Event) -> bytes:
    """Return ``EVENT rev set|del path [value]``."""
    head = b"EVENT %d %b %b" % (seen.rev, _KINDS[seen.kind], encode(seen.path))
    if seen.value is None:
        return head + b"\n"
    return b"%b %b\n" % (head, written(seen.value))


def trouble(seen: SessionEvent) -> bytes:
    """Return ``EVENT rev jeopardy|safe|expired session``."""
    return f"EVENT {seen.rev} {seen.kind.value} {seen.session}\n".encode()


ROWS: Final[dict[type, Callable[[Any], bytes]]] = {
    Row: row,
    str: name,
    Entry: entry,
    Aside: aside,
}
"""How each kind of row is written; a text is a child's name, or a path of a difference."""
