"""What is done to the tables, one statement at a time: no threads here, and no queues.

Each function is one transaction (SQLite commits a statement that stands alone) and is
short, however large the tables are.

**One save, one statement.** SQLite lets go of Python's interpreter lock at every step of
a statement and has to win it back afterwards, from a reactor that may be busy. So a group
of saves is one ``INSERT`` of many rows, not many of one row between ``BEGIN`` and ``COMMIT``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final, TypeAlias

import msgspec

from coord.journal.errors import ADMIT_ANEW, CorruptionError
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save, Value, Vote
from coord.wire.journal import (
    decode_header,
    decode_value,
    encode_header,
    encode_value,
    identity_checksum,
    image_checksum,
    piece_checksum,
    record_checksum,
)

Record: TypeAlias = tuple[int, int, str, bytes, int]
"""A row of the log: slot, ballot's number, ballot's node, content, checksum."""

UNKNOWN: Final = -1
"""Stands for the checksum of an identity that schema 1 wrote."""
HEADER_SLOT: Final = 0
"""Where the header stands in the log: before the first slot."""
STATEMENT_RECORDS_MAX: Final = 1024
"""Records of one statement; SQLite takes 32,766 parameters at least."""
STEP_ROWS_MAX: Final = 256
"""Rows deleted in one step."""
STEP_BYTES_MAX: Final = 512 * 1024
"""Bytes deleted in one step, or one row."""
STEP_WAL_BYTES: Final = 16 * 4096
"""About how much such a step writes: freed pages are only listed, not written."""

_READ_LOG: Final = (
    "SELECT slot, ballot, node, content, checksum FROM log"
    " WHERE slot >= ? AND slot < ? ORDER BY slot"
)
# The end of one step's rows: as many as are few, small and wanted, at least one.
_STEP_END: Final = """
    SELECT max({key}) FROM (
        SELECT {key}, size, sum(size) OVER (ORDER BY {key}) AS total FROM (
            SELECT {key}, length(content) AS size FROM {table}
            WHERE {key} >= ? AND {key} < ? ORDER BY {key} LIMIT ?))
    WHERE total - size < ?"""
_LOG_STEP_END: Final = _STEP_END.format(key="slot", table="log")
_PIECE_STEP_END: Final = _STEP_END.format(key="number", table="piece")
END: Final = 2**63 - 1
"""After every slot and every piece."""


def save(connection: sqlite3.Connection, saves: Sequence[Save]) -> int:
    """Write what some saves come to, durably; return about how many bytes that was.

    Only the last header matters, and only the last vote for each slot.
    """
    votes = {vote.slot: vote for save in saves for vote in save.votes}
    records = [_record(vote) for vote in votes.values()]
    records.append(_header_record(saves[-1].header))
    if len(records) <= STATEMENT_RECORDS_MAX:
        _insert(connection, records)
    else:
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(records), STATEMENT_RECORDS_MAX):
            _insert(connection, records[start : start + STATEMENT_RECORDS_MAX])
        connection.execute("COMMIT")
    return sum(len(record[3]) for record in records)


def _record(vote: Vote) -> Record:
    content = encode_value(vote.value)
    ballot = vote.ballot
    return (
        vote.slot,
        ballot.number,
        ballot.node,
        content,
        record_checksum(vote.slot, ballot, content),
    )


def _header_record(header: Header) -> Record:
    content = encode_header(header)
    promised = header.promised
    checksum = record_checksum(HEADER_SLOT, promised, content)
    return (HEADER_SLOT, promised.number, promised.node, content, checksum)


def _insert(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Insert records by one statement, the last one again and again up to a power of two.

    So there are few statements, and each is compiled once. Where the header is last, which
    is small, writing it again costs less than a microsecond.
    """
    rows = 1 << (len(records) - 1).bit_length()
    values = [field for record in records for field in record]
    values.extend(records[-1] * (rows - len(records)))
    connection.execute(_insertion(rows), values)


@cache
def _insertion(rows: int) -> str:
    return "INSERT OR REPLACE INTO log VALUES " + ",".join(["(?, ?, ?, ?, ?)"] * rows)  # noqa: S608


def _checked(record: Record) -> Record:
    slot, number, node, content, checksum = record
    if record_checksum(slot, Ballot(number, node), content) != checksum:
        what = f"slot {slot}" if slot != HEADER_SLOT else "slot 0 (the acceptor's header)"
        raise CorruptionError(f"the log's record of {what} is damaged: {ADMIT_ANEW}")
    return record


def read_header(connection: sqlite3.Connection) -> Header | None:
    """Return the header, if there is one yet; raise `CorruptionError` where it is damaged."""
    record = connection.execute(_READ_LOG, (HEADER_SLOT, HEADER_SLOT + 1)).fetchone()
    return decode_header(_checked(record)[3]) if record else None


def read_votes(connection: sqlite3.Connection, slot: int) -> tuple[Vote, ...]:
    """Return every vote from ``slot`` on, in order; raise `CorruptionError`."""
    records = map(_checked, connection.execute(_READ_LOG, (max(slot, 1), END)))
    return tuple(
        Vote(slot, Ballot(number, node), decode_value(content))
        for slot, number, node, content, _ in records
    )


def read_values(
    connection: sqlite3.Connection, slot: int, until: int, size_bytes_max: int
) -> list[Value]:
    """Return consecutive values from ``slot`` on, as ``IJournal.read`` says."""
    values: list[Value] = []
    size_bytes = 0
    cursor = connection.execute(_READ_LOG, (slot, until))
    try:
        for record in cursor:
            size_bytes += len(record[3])
            if record[0] != slot + len(values) or (values and size_bytes > size_bytes_max):
                break
            values.append(decode_value(_checked(record)[3]))
    finally:
        cursor.close()  # or the checkpoint could not go past what it saw
    return values


def first_slot(connection: sqlite3.Connection) -> int | None:
    """Return the first slot of the log, ``None`` where it is empty."""
    found: int | None = connection.execute("SELECT min(slot) FROM log WHERE slot > 0").fetchone()[0]
    return found


def delete_log(connection: sqlite3.Connection, until: int) -> bool:
    """Delete the log's oldest records before slot ``until``; say whether there were any."""
    limits = (HEADER_SLOT + 1, until, STEP_ROWS_MAX, STEP_BYTES_MAX)
    end = connection.execute(_LOG_STEP_END, limits).fetchone()[0]
    if end is None:
        return False
    connection.execute("DELETE FROM log WHERE slot >= ? AND slot <= ?", (HEADER_SLOT + 1, end))
    return True


def delete_pieces(connection: sqlite3.Connection, first: int, until: int) -> bool:
    """Delete some pieces from ``first`` to before ``until``; say whether there were any."""
    limits = (first, until, STEP_ROWS_MAX, STEP_BYTES_MAX)
    end = connection.execute(_PIECE_STEP_END, limits).fetchone()[0]
    if end is None:
        return False
    connection.execute("DELETE FROM piece WHERE number >= ? AND number <= ?", (first, end))
    return True


def add_piece(connection: sqlite3.Connection, number: int, content: bytes) -> None:
    """Write one piece of an image."""
    connection.execute(
        "INSERT INTO piece VALUES (?, ?, ?)", (number, content, piece_checksum(number, content))
    )


def read_piece(connection: sqlite3.Connection, number: int) -> bytes:
    """Return one piece; raise `CorruptionError` where it is missing or damaged."""
    row = connection.execute(
        "SELECT content, checksum FROM piece WHERE number = ?", (number,)
    ).fetchone()
    if row is None or piece_checksum(number, row[0]) != row[1]:
        raise CorruptionError(f"piece {number} of the image is damaged or gone: {ADMIT_ANEW}")
    content: bytes = row[0]
    return content


class Identity(msgspec.Struct, frozen=True):
    """Whose directory this is; ``incarnation`` counts its openings, this one included.

    ``disk`` is the directory's own name, "" until it has one.
    """

    node: str
    cluster: str
    incarnation: int
    disk: str


def read_identity(connection: sqlite3.Connection) -> Identity | None:
    """Return whose the directory is, ``None`` where it is nobody's yet; of any schema.

    :raise CorruptionError: where the record is damaged.
    """
    row = connection.execute("SELECT * FROM identity").fetchone()
    if row is None:
        return None
    _, node, cluster, incarnation, *later = row  # schemas before had no checksum, or no disk
    checksum = later[0] if later else UNKNOWN
    disk = later[1] if later[1:] else ""
    if checksum != UNKNOWN and identity_checksum(node, cluster, incarnation, disk) != checksum:
        raise CorruptionError(f"the record of whose journal this is is damaged: {ADMIT_ANEW}")
    return Identity(node, cluster, incarnation, disk)


def write_identity(connection: sqlite3.Connection, identity: Identity) -> None:
    """Write whose directory it is, and in which life."""
    record = (identity.node, identity.cluster, identity.incarnation, identity.disk)
    connection.execute(
        "INSERT OR REPLACE INTO identity (one, node, cluster, incarnation, disk, checksum)"
        " VALUES (1, ?, ?, ?, ?, ?)",
        (*record, identity_checksum(*record)),
    )


def last_piece(connection: sqlite3.Connection) -> int:
    """Return the highest number of a piece, 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM piece").fetchone()[0])


def set_image(connection: sqlite3.Connection, slot: int, first: int, until: int) -> None:
    """Make the pieces from ``first`` to before ``until`` the image after ``slot``."""
    connection.execute(
        "INSERT OR REPLACE INTO image VALUES (1, ?, ?, ?, ?)",
        (slot, first, until, image_checksum(slot, first, until)),
    )


def read_image(connection: sqlite3.Connection) -> tuple[int, range]:
    """Return the image's slot and the numbers of its pieces: 0 and none where there is none."""
    row = connection.execute("SELECT slot, first, until, checksum FROM image").fetchone()
    if row is None:
        return 0, range(1, 1)
    slot, first, until, checksum = row
    if image_checksum(slot, first, until) != checksum:
        raise CorruptionError(f"the image of slot {slot} is damaged: {ADMIT_ANEW}")
    return slot, range(first, until)


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file, waiting for no one; say whether all of it was."""
    _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return bool(frames == copied)


def slots_from(connection: sqlite3.Connection, slot: int) -> set[int]:
    """Return the slots from ``slot`` on of which the log has a record."""
    rows = connection.execute("SELECT slot FROM log WHERE slot >= ?", (slot,))
    return {found for (found,) in rows}


def check_all(connection: sqlite3.Connection) -> None:
    """Read every record; raise `CorruptionError` where one is damaged."""
    read_identity(connection)
    read_image(connection)
    for record in connection.execute(_READ_LOG, (HEADER_SLOT, END)):
        _checked(record)
    for (number,) in connection.execute("SELECT number FROM piece ORDER BY number"):
        read_piece(connection, number)
