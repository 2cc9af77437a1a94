"""A folder of ``coord-backup follow``: which files are there, what they hold, and any moment of it.

Files are numbered in the order in which they were begun. ``00000001-1042.dump`` is a *base*,
the picture of revision 1042; ``00000002-1042.changes`` goes on from it, the next file from that
one. What is still being written ends in ``.open``. A later base stands where changes were missed.

A file of changes may begin before the end of the one that it goes on from: it then tells the
last revisions again, whole. To apply a change a second time does no harm.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from coord.events import Event
from coord.paths import from_order_key, order_key
from coord.results import Row
from coord.tools.backup_files import Checked, Refused, check, pieces
from coord.tools.backup_stream import ACL
from coord.wire.backup import Content, Mark
from coord.wire.backup_reader import Damage, Foreign, Reader

_NAME: Final = re.compile(r"([0-9]{8})-([0-9]+)\.(dump|changes|changes\.open)")
_STEP_ROWS: Final = 1000


class Part(msgspec.Struct, frozen=True):
    """One file of a record: its number, and whether it is still being written."""

    number: int
    path: Path
    is_open: bool

    @property
    def is_base(self) -> bool:
        """Whether it is a dump."""
        return self.path.suffix == ".dump"


class Spoiled(Exception):
    """A file of a record is damaged, or missing; the text says which and where."""


def part_name(number: int, rev: int, content: Content) -> str:
    """Return the name of a file that is whole."""
    return f"{number:08}-{rev}.{content.value}"


def parts(folder: Path) -> list[Part]:
    """Return the files of a record in order."""
    found = []
    for path in folder.iterdir():
        name = _NAME.fullmatch(path.name)
        if name:
            found.append(Part(int(name[1]), path, name[3].endswith("open")))
    return sorted(found, key=lambda part: part.number)


def look(part: Part) -> Checked:
    """Read one file from end to end; raises `Spoiled`."""
    try:
        with part.path.open("rb") as file:
            return check(file, unfinished=part.is_open)
    except (Damage, Foreign) as problem:
        raise Spoiled(f"{part.path}: {problem}") from None


def check_all(folder: Path) -> Iterator[tuple[Part, Checked]]:
    """Yield every file of a record with what it holds; raises `Spoiled` at the first fault."""
    before: Part | None = None
    name = ""
    for part in parts(folder):
        if any(folder.glob(f"{part.number - 1:08}-*.partial")):
            return  # its base is still being dumped: the record does not go so far yet
        if before is not None and part.number != before.number + 1:
            raise Spoiled(
                f"{folder}: a file between {before.path.name} and {part.path.name} is lost"
            )
        found = look(part)
        if not part.is_base and found.header.after != name:
            raise Spoiled(f"{part.path}: the file that it goes on from is lost, or another")
        yield part, found
        before, name = part, found.name


class Moment(msgspec.Struct, frozen=True):
    """A revision that a record can bring back: the base, the changes to apply, how far."""

    rev: int
    base: Part
    changes: tuple[Part, ...]
    cluster: str


class _Chain(msgspec.Struct):
    """A base and what goes on from it; ``rev`` and ``time`` are how far that is for certain."""

    base: Part
    header_rev: int
    header_time: str
    cluster: str
    rev: int
    time: str
    changes: list[Part]
    marks: list[Mark]


def find(folder: Path, at: int | str | None) -> Moment:
    """Return the moment of a revision, of a time (as a stamp), or the last one.

    Every file is read, so nothing that is damaged is ever restored.

    :raises Refused: where the record does not have that moment.
    :raises Spoiled: where a file is damaged or missing.
    """
    chains = _chains(folder)
    if not chains:
        raise Refused(f"{folder} holds no backup")
    if at is None:
        return _moment(chains[-1], chains[-1].rev)
    if isinstance(at, int):
        fitting = [chain for chain in chains if chain.header_rev <= at]
        if not fitting or at > fitting[-1].rev:
            raise Refused(f"revision {at} is not in {folder}, which has {_spans(chains)}")
        return _moment(fitting[-1], at)
    fitting = [chain for chain in chains if chain.header_time <= at]
    if not fitting or at > fitting[-1].time:
        raise Refused(f"{at} is not in {folder}, which has {_times(chains)}")
    chain = fitting[-1]
    revs = [mark.rev for mark in chain.marks if mark.time <= at]
    return _moment(chain, max([chain.header_rev, *revs]))


def _chains(folder: Path) -> list[_Chain]:
    chains: list[_Chain] = []
    for part, found in check_all(folder):
        header = found.header
        if part.is_base:
            chains.append(
                _Chain(
                    *(part, header.rev, header.time, header.cluster, header.rev, header.time),
                    changes=[],
                    marks=[],
                )
            )
            continue
        chain = chains[-1]
        chain.changes.append(part)
        for mark in _marks(part):
            chain.marks.append(mark)
            chain.rev, chain.time = max(chain.rev, mark.rev), max(chain.time, mark.time)
        chain.rev = max(chain.rev, found.rev - 1)  # of the last one there may be more to come
    return chains


def _marks(part: Part) -> Iterator[Mark]:
    with part.path.open("rb") as file:
        for record in Reader(unfinished=part.is_open).records(pieces(file)):
            if isinstance(record, Mark):
                yield record


def _moment(chain: _Chain, rev: int) -> Moment:
    return Moment(rev, chain.base, tuple(chain.changes), chain.cluster)


def _spans(chains: Iterable[_Chain]) -> str:
    return " and ".join(f"{one.header_rev} to {one.rev}" for one in chains)


def _times(chains: Iterable[_Chain]) -> str:
    return " and ".join(f"{one.header_time} to {one.time}" for one in chains)


@contextmanager
def rebuilt(moment: Moment) -> Iterator[tuple[int, Iterator[Row], Row | None]]:
    """Yield how many nodes there were at a moment, the nodes in path order, the rules of access.

    They are put together in a temporary file, in little memory.
    """
    with (
        tempfile.TemporaryDirectory(prefix="coord-backup-") as scratch,
        closing(sqlite3.connect(Path(scratch) / "nodes", isolation_level=None)) as nodes,
    ):
        nodes.execute("PRAGMA journal_mode = OFF").fetchall()
        nodes.execute("PRAGMA synchronous = OFF").fetchall()
        nodes.execute(
            "CREATE TABLE node (key BLOB PRIMARY KEY, rev INTEGER, value BLOB, ttl_ms INTEGER)"
        )
        nodes.execute("BEGIN")
        _fill(nodes, moment)
        (count,) = nodes.execute("SELECT count(*) FROM node").fetchone()
        yield count, _rows(nodes), _rules(nodes)


def _fill(nodes: sqlite3.Connection, moment: Moment) -> None:
    base = _records(moment.base)
    rows = (_cells(record) for record in base if isinstance(record, Row))
    while step := list(islice(rows, _STEP_ROWS)):
        nodes.executemany("INSERT INTO node VALUES (?, ?, ?, ?)", step)
    for part in moment.changes:
        for record in _records(part):
            if not isinstance(record, Event):
                continue
            if record.rev > moment.rev:
                break
            if record.value is None:
                nodes.execute("DELETE FROM node WHERE key = ?", (_key(record.path),))
            else:
                row = Row(record.path, record.rev, record.value, record.ttl_ms)
                nodes.execute("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)", _cells(row))


def _records(part: Part) -> Iterator[object]:
    with part.path.open("rb") as file:
        yield from Reader(unfinished=part.is_open).records(pieces(file))


def _rows(nodes: sqlite3.Connection) -> Iterator[Row]:
    for key, *rest in nodes.execute("SELECT key, rev, value, ttl_ms FROM node ORDER BY key"):
        yield Row(from_order_key(key.decode()), *rest)


def _rules(nodes: sqlite3.Connection) -> Row | None:
    found = nodes.execute("SELECT rev, value FROM node WHERE key = ?", (_key(ACL),)).fetchone()
    return None if found is None else Row(ACL, *found)


def _cells(row: Row) -> tuple[bytes, int, bytes, int]:
    return _key(row.path), row.rev, row.value, row.ttl_ms


def _key(path: str) -> bytes:
    """Return the bytes whose order is path order."""
    return order_key(path).encode()
