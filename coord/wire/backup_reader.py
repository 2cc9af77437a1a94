"""The files of ``coord-backup``, read and doubted: see `coord.wire.backup` for what they hold.

A reader takes bytes in any pieces and gives records, in memory for one line. The first line that
is not as it was written is named by `Damage`, and what came before it was as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from coord.errors import CoordError
from coord.events import Event, Kind
from coord.paths import decode, order_key
from coord.results import Row
from coord.wire.backup import (
    LINE_BYTES_MAX,
    MAGIC,
    VERSIONS_READ,
    Content,
    End,
    Header,
    LeftOut,
    Mark,
    Record,
    Total,
    checksum,
    name_of,
)
from coord.wire.backup_text import span_ms, text_of, unescape

_HEADER: Final = re.compile(rb"coord-backup ([0-9]{1,9}) (.*) crc=([0-9a-f]{8})", re.DOTALL)
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,18}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_LATER: Final = re.compile(rb"[0-9a-f]{8} (?:node|node-ttl|set|set-ttl|del|at|end) ")
_BODY: Final = 9
"""Where a line's body begins: after the checksum and a space."""


class Damage(Exception):
    """Line ``line`` (the first is 1) is not as it was written, and none before it is damaged."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what


class Foreign(Exception):
    """This is no file of ``coord-backup``, or one of a later version."""


class Reader:
    """Reads one file; `records` once, then ``header``, ``end`` and the rest say what it was.

    ``unfinished`` is for changes that are still being written: they may end anywhere, and what
    follows the last whole line is not looked at. ``sound_bytes`` is where that line ends, ``name``
    is what files that go on from this one call it.
    """

    def __init__(self, *, unfinished: bool = False) -> None:
        self._unfinished = unfinished
        self._total = Total()
        self._link = b""
        self._last_key: str | None = None
        self._header: Header | None = None
        self.end: End | None = None
        self.line = 0
        self.sound_bytes = 0
        self.rev = 0
        self.name = ""

    @property
    def header(self) -> Header:
        """The first line; there once a record was read."""
        assert self._header is not None, "read first"
        return self._header

    def records(self, pieces: Iterable[bytes]) -> Iterator[Record]:
        """Yield what the lines say, the `Header` first, the `End` last.

        :raises Damage: at the first line that is not as it was written.
        :raises Foreign: where the file was never one that this program reads.
        """
        for record, _ in self.records_and_lines(pieces):
            yield record

    def records_and_lines(self, pieces: Iterable[bytes]) -> Iterator[tuple[Record, bytes]]:
        """Yield each record with the line, its end included, that it was read from."""
        for line in self._lines(pieces):
            self.line += 1
            if self.end is not None:
                raise Damage(self.line, "something follows the last line")
            record = self._record(line) if self._header is not None else self._first(line)
            self.sound_bytes += len(line)
            yield record, line
        if self._header is None:
            raise Damage(1, "the file is empty")
        if self.end is None and not self._unfinished:
            raise Damage(self.line + 1, "the file is cut: its last line is missing")

    def _lines(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield whole lines; what follows the last line end is damage, or not there yet."""
        rest = bytearray()
        for piece in pieces:
            rest += piece
            if b"\n" not in piece:
                if len(rest) > LINE_BYTES_MAX:
                    self._never_whole(rest)
                continue
            lines = bytes(rest).split(b"\n")
            rest = bytearray(lines.pop())
            for line in lines:
                yield line + b"\n"
        if rest and not (self._unfinished and self._header is not None):
            self._never_whole(rest)

    def _never_whole(self, rest: bytearray) -> None:
        if self._header is None:
            self._look_like_ours(bytes(rest[:LINE_BYTES_MAX]))
        raise Damage(self.line + 1, "it is cut, or its line end is gone")

    # -- the first line ----------------------------------------------------------------
    def _look_like_ours(self, line: bytes) -> None:
        """Raise `Foreign` where the first word is not nearly right, nor a later line's."""
        if _LATER.match(line):
            raise Damage(1, "the first line is lost or out of place")
        wrong = sum(one != two for one, two in zip(line, MAGIC, strict=False))
        if wrong > 1 or len(line) < len(MAGIC):
            raise Foreign("this is no file of coord-backup")

    def _first(self, line: bytes) -> Header:
        self._look_like_ours(line)
        found = _HEADER.fullmatch(line[:-1])
        if found is None or checksum(b"", line[: -len(b" crc=01234567\n")]) != found[3]:
            raise Damage(1, "the first line is damaged")
        if int(found[1]) not in VERSIONS_READ:
            raise Foreign(
                f"version {int(found[1])} of the format is not known here: take a newer coord"
            )
        try:
            self._header = header = _header(found[2])
        except (ValueError, KeyError):
            raise Damage(1, "the first line makes no sense") from None
        self.rev = header.rev
        self.name = name_of(line)
        if header.content is Content.CHANGES:
            self._link = found[3]
        self._total.add(line)
        return header

    # -- the others ---------------------------------------------------------------------
    def _record(self, line: bytes) -> Record:
        body = line[_BODY:-1]
        check = line[: _BODY - 1]
        if line[_BODY - 1 : _BODY] != b" " or check != checksum(self._link, body):
            raise Damage(self.line, "it is damaged, or a line before it is lost or out of place")
        try:
            record = self._understood(body, check)
        except (ValueError, CoordError) as error:
            raise Damage(self.line, f"it makes no sense: {error}") from None
        if not isinstance(record, End):
            self._total.add(line)
        return record

    def _understood(self, body: bytes, check: bytes) -> Record:
        is_dump = self.header.content is Content.DUMP
        has_ttl = body.startswith((b"node-ttl ", b"set-ttl "))
        match body.split(b" ", 4 if has_ttl else 3):
            case [b"node", rev, path, value] if is_dump:
                self._link = path
                return self._node(Row(decode(path), _number(rev), unescape(value)))
            case [b"node-ttl", rev, path, ttl, value] if is_dump:
                self._link = path
                row = Row(decode(path), _number(rev), unescape(value), span_ms(ttl))
                return self._node(row)
            case [b"set", rev, path, value] if not is_dump:
                self._link = check
                return self._change(Event(_number(rev), Kind.SET, decode(path), unescape(value)))
            case [b"set-ttl", rev, path, ttl, value] if not is_dump:
                self._link = check
                content, life = unescape(value), span_ms(ttl)
                return self._change(Event(_number(rev), Kind.SET, decode(path), content, life))
            case [b"del", rev, path] if not is_dump:
                self._link = check
                return self._change(Event(_number(rev), Kind.DEL, decode(path)))
            case [b"at", rev, time] if not is_dump:
                self._link = check
                return self._mark(Mark(_number(rev), _time(text_of(time))))
            case [b"end", lines, total, *counts]:
                left_out = _left_out(counts)
                return self._ended(End(_number(lines), total.decode("ascii"), left_out))
        raise ValueError("no such line is known")

    def _node(self, row: Row) -> Row:
        key = order_key(row.path)
        if self._last_key is not None and key <= self._last_key:
            raise ValueError("nodes are not in order")
        if row.rev > self.header.rev:
            raise ValueError("a node is newer than the picture")
        self._last_key = key
        return row

    def _change(self, event: Event) -> Event:
        if event.rev < self.rev or event.rev <= self.header.rev:
            raise ValueError("revisions are not in order")
        self.rev = event.rev
        return event

    def _mark(self, mark: Mark) -> Mark:
        if mark.rev > self.rev:
            raise ValueError("it speaks of a revision that is not there")
        return mark

    def _ended(self, end: End) -> End:
        if end.lines != self.line - 2:
            raise ValueError(f"it counts {end.lines} lines above it, there are {self.line - 2}")
        if end.hash != self._total.text():
            raise ValueError("the hash of the whole file is another")
        self.end = end
        return end


def _header(words: bytes) -> Header:
    content, *pairs = words.split(b" ")
    fields = dict(pair.split(b"=", 1) for pair in pairs)
    return Header(
        content=Content(content.decode()),
        rev=_number(fields[b"rev"]),
        cluster=text_of(fields[b"cluster"]),
        time=_time(text_of(fields[b"time"])),
        after=text_of(fields.get(b"after", b"")),
    )


def _left_out(counts: list[bytes]) -> LeftOut:
    """Return what the words after the hash count; those of later times are passed over."""
    known: dict[str, int] = {}
    for pair in b"".join(counts).split():
        name, _, number = pair.decode("ascii").partition("=")
        if name in LeftOut.__struct_fields__:
            known[name] = _number(number.encode())
    return LeftOut(**known)


def _number(digits: bytes) -> int:
    if not _NUMBER.fullmatch(digits):
        raise ValueError("a number is wrong")
    return int(digits)


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError("a time is wrong")
    return text
