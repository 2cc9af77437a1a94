"""What a journal finds when it is opened: the newest image, and the log above it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from coord.journal import tables
from coord.journal.directory import connect
from coord.journal.errors import ADMIT_ANEW, CorruptionError
from coord.paxos.durable import Durable, Header
from coord.paxos.membership import Governs


class Found(msgspec.Struct, frozen=True):
    """What is there. ``orphans`` are spans of pieces that belong to no image any more."""

    durable: Durable
    image: Iterator[bytes]
    oldest: int
    next_piece: int
    orphans: tuple[tuple[int, int], ...]


def recover(directory: Path, initial: tuple[Governs, ...]) -> Found:
    """Read the file in ``directory``; ``initial`` stands in where no header was saved yet.

    :raise CorruptionError: a record is damaged, or a chosen slot is missing.
    """
    connection = connect(directory, synchronous="NORMAL")
    try:
        return _recover(directory, connection, initial)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise CorruptionError(f"{directory} cannot be read ({error}): restore it") from error
    finally:
        connection.close()


def _recover(
    directory: Path, connection: sqlite3.Connection, initial: tuple[Governs, ...]
) -> Found:
    base, pieces = tables.read_image(connection)
    header = tables.read_header(connection)
    if header is None and (base or tables.first_slot(connection) is not None):
        raise CorruptionError(
            f"the log's record of slot 0 (the acceptor's header) is gone: {ADMIT_ANEW}"
        )
    durable = Durable(
        header or Header(governs=initial),
        tables.read_votes(connection, base + 1),
        base,
    )
    _check_whole(durable)
    known = max(durable.header.chosen, base)
    first = tables.first_slot(connection)
    last = tables.last_piece(connection)
    spans = ((0, pieces.start), (pieces.stop, last + 1))
    return Found(
        durable,
        _read_pieces(directory, pieces),
        known + 1 if first is None else min(first, known + 1),
        max(pieces.stop, last + 1),
        tuple(span for span in spans if span[0] < span[1]),
    )


def _check_whole(durable: Durable) -> None:
    """See that every slot above the base that is known to be chosen is there."""
    slots = (vote.slot for vote in durable.votes)
    for slot in range(durable.base + 1, durable.header.chosen + 1):
        if next(slots, None) != slot:
            raise CorruptionError(f"the log lacks slot {slot}, which was chosen: {ADMIT_ANEW}")


def _read_pieces(directory: Path, pieces: range) -> Iterator[bytes]:
    """Yield the pieces, each read from the disk only when it is wanted."""
    if not pieces:
        return
    connection = connect(directory, synchronous="NORMAL")
    try:
        for number in pieces:
            yield tables.read_piece(connection, number)
    finally:
        connection.close()
