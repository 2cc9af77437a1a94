r"""The files of ``coord-backup``: their lines, and how they are written.

A *dump* is one picture of the store, its nodes in path order::

    coord-backup 2 dump rev=8 cluster=coord time=2026-11-20T06:01:22.000Z crc=a9ce0f10
    6f4b2b1e node 5 /message hello, world
    40c1ab27 node-ttl 7 /seen/web 30 up
    9be2d0c7 end 2 77d0... ephemeral=3 locks=1 sessions=2

A file of *changes* goes on from a revision: what every watcher saw, in order, and now and then
how far the record had come at what time::

    coord-backup 2 changes rev=8 cluster=coord time=... after=5e12... crc=31be4470
    aa01c5d2 set 9 /message good morning
    1be09f3c del 10 /services/web/1
    e02c7a51 at 10 2026-11-20T06:01:24.115Z
    40ad3ce9 end 3 0bb1...

Every line but the first begins with a CRC-32 of the rest of it and of what it is *linked* to.
In a dump that is the path of the line before, so a line that is lost, doubled or out of place
is found at once, and yet two dumps differ only where the stores did. In changes it is the checksum
of the line before. The last line counts the lines between it and the first and holds a
BLAKE2b hash of all the bytes above it; that of a dump also counts what was left out because it
goes with a session. ``after`` of changes is such a hash of the first line of the file that they
go on from. Version 1 had no such counts, and no lifetimes (``node-ttl``, ``set-ttl``).
`coord.wire.backup_reader` reads all this, and ``doc/backup-format.rst`` tells it to others.
"""

from __future__ import annotations

import enum
import hashlib
import zlib
from typing import Final, TypeAlias

import msgspec

from coord.events import Event, Kind
from coord.limits import MIB
from coord.paths import encode
from coord.results import Row
from coord.wire.backup_text import escape, seconds, word

MAGIC: Final = b"coord-backup"
VERSION: Final = 2
VERSIONS_READ: Final = (1, 2)
HASH_BYTES: Final = 16
LINE_BYTES_MAX: Final = 16 * MIB
"""Longest line that a reader takes: any value that a node takes fits, in Base64, many times."""


class Content(enum.Enum):
    """What a file is."""

    DUMP = "dump"
    CHANGES = "changes"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line.

    ``rev`` is the revision that a dump is a picture of, or after which changes begin; ``time``
    when that was, in UTC as ``2026-11-20T06:01:22.000Z``. ``after`` is the `name_of` the file that
    changes go on from, empty for a dump.
    """

    content: Content
    rev: int
    cluster: str
    time: str
    after: str = ""


class Mark(msgspec.Struct, frozen=True):
    """Everything up to revision ``rev`` was recorded by ``time``."""

    rev: int
    time: str


class LeftOut(msgspec.Struct, frozen=True):
    """What a dump does not hold, since it goes with a session; all of it counted."""

    ephemeral: int = 0
    locks: int = 0
    sessions: int = 0


class End(msgspec.Struct, frozen=True):
    """The last line: how many lines stand above it but for the first, and the hash of them all."""

    lines: int
    hash: str
    left_out: LeftOut = LeftOut()


NOTHING_LEFT_OUT: Final = LeftOut()

Record: TypeAlias = Header | Row | Event | Mark | End


def checksum(link: bytes, body: bytes) -> bytes:
    """Return the eight digits before a line's ``body``."""
    return b"%08x" % zlib.crc32(body, zlib.crc32(b"%b " % link))


def name_of(first_line: bytes) -> str:
    """Return what files that go on from the one with this first line call it."""
    return hashlib.blake2b(first_line, digest_size=HASH_BYTES).hexdigest()


class Total:
    """The hash over all lines so far."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES)

    def add(self, line: bytes) -> None:
        """Take in one whole line."""
        self._hash.update(line)

    def text(self) -> str:
        """Return the hash of what was taken in."""
        return self._hash.hexdigest()


class Writer:
    """One file's lines, made one by one; each call returns the next, with its line end.

    ``name`` is the `name_of` the file, once `head` was made.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._total = Total()
        self._link = b""
        self.lines = 0
        self.name = ""

    def head(self) -> bytes:
        """Return the first line."""
        header = self._header
        words = [
            *(MAGIC, b"%d" % VERSION, header.content.value.encode()),
            *(b"rev=%d" % header.rev, b"cluster=" + word(header.cluster)),
            b"time=" + word(header.time),
        ]
        if header.after:
            words.append(b"after=" + word(header.after))
        body = b" ".join(words)
        check = checksum(b"", body)
        line = b"%b crc=%b\n" % (body, check)
        if header.content is Content.CHANGES:
            self._link = check
        self.name = name_of(line)
        self._total.add(line)
        return line

    def node(self, row: Row) -> bytes:
        """Return the line of one node of a dump; they come in path order."""
        path = encode(row.path)
        if row.ttl_ms:
            ttl = seconds(row.ttl_ms)
            body = b"node-ttl %d %b %b %b" % (row.rev, path, ttl, escape(row.value))
        else:
            body = b"node %d %b %b" % (row.rev, path, escape(row.value))
        line = b"%b %b\n" % (checksum(self._link, body), body)
        self._link = path
        self._total.add(line)
        self.lines += 1
        return line

    def change(self, event: Event) -> bytes:
        """Return the line of one change; they come in order of revisions."""
        path = encode(event.path)
        if event.kind is Kind.DEL or event.value is None:
            return self._linked(b"del %d %b" % (event.rev, path))
        if event.ttl_ms:
            ttl = seconds(event.ttl_ms)
            return self._linked(
                b"set-ttl %d %b %b %b" % (event.rev, path, ttl, escape(event.value))
            )
        return self._linked(b"set %d %b %b" % (event.rev, path, escape(event.value)))

    def mark(self, mark: Mark) -> bytes:
        """Return the line that says how far the record has come."""
        return self._linked(b"at %d %b" % (mark.rev, word(mark.time)))

    def end(self, left_out: LeftOut = NOTHING_LEFT_OUT) -> bytes:
        """Return the last line; that of a dump says what was left out."""
        body = b"end %d %b" % (self.lines, self.hash.encode())
        if self._header.content is Content.DUMP:
            counts = msgspec.structs.asdict(left_out)
            body += b"".join(b" %b=%d" % (name.encode(), count) for name, count in counts.items())
        return b"%b %b\n" % (checksum(self._link, body), body)

    @property
    def hash(self) -> str:
        """The hash of all lines so far: before `end`, the one that it holds."""
        return self._total.text()

    def _linked(self, body: bytes) -> bytes:
        self._link = checksum(self._link, body)
        line = b"%b %b\n" % (self._link, body)
        self._total.add(line)
        self.lines += 1
        return line

    def resume(self, line: bytes) -> None:
        """Take in a line of changes that stands in the file already, the first one included."""
        self._total.add(line)
        if line.startswith(MAGIC):
            self._link = line[-9:-1]
            self.name = name_of(line)
        else:
            self._link = line[:8]
            self.lines += 1
