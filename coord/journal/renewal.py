"""A journal whose disk failed, written anew once the disk works again.

After an ``fsync`` that failed the kernel may hold as clean what never reached the disk, so that
nothing is known to be there because it can be read back, and a second ``fsync`` proves nothing.
What can be read is copied into a new file, every checksum is verified, that file is synced, and
only then takes the old one's place (`coord.journal.directory.put_renewed`).

What was acknowledged has to be in it. What was written and not acknowledged may be in it or not:
that is the same as a crash before the answer.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from coord.journal import tables
from coord.journal.directory import (
    FILE_NAME,
    LOCK_NAME,
    NEW_NAME,
    RENEWED_NAME,
    connect,
    put_renewed,
    sync_names,
)
from coord.journal.errors import CorruptionError, JournalError
from coord.limits import DISK_PROBE_BYTES
from coord.paxos.durable import Save

PROBE_NAME: Final = "probe"


class LostError(JournalError):
    """The directory is not the one that was opened."""


def probe(directory: Path, claimed: int) -> None:
    """See that the disk takes what it is given, and has room for the journal once more. Blocks.

    ``claimed`` is what `coord.journal.directory.claim` returned.

    :raise OSError: it does not, or the directory is gone for now.
    :raise LostError: the directory is another one, or somebody else's.
    """
    found, ours = (directory / LOCK_NAME).stat(), os.fstat(claimed)
    if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino):
        raise LostError(f"{directory} is not the directory that this node opened")
    _look_for_room(directory)
    path = directory / PROBE_NAME
    try:
        with path.open("wb") as file:
            file.write(b"coord" * (DISK_PROBE_BYTES // 5))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    sync_names(directory)


def _look_for_room(directory: Path) -> None:
    disk = os.statvfs(directory)
    free_bytes = disk.f_bavail * disk.f_frsize
    wanted_bytes = (directory / FILE_NAME).stat().st_size + DISK_PROBE_BYTES
    with suppress(FileNotFoundError):
        wanted_bytes += (directory / f"{FILE_NAME}-wal").stat().st_size
    if free_bytes < wanted_bytes:
        raise OSError(
            errno.ENOSPC, f"{free_bytes} bytes are free, {wanted_bytes} are wanted to go on"
        )


class Renewal:
    """One journal's way into a new file: begun before the journal is closed, run after that.

    It holds the old file open, so that whoever closes that meanwhile is not the last one, who would
    sync and drop its log as if nothing had happened. Everything here blocks.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_closed = False
        self._source = connect(directory, synchronous="FULL")
        self._source.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def run(self, acknowledged: Save | None) -> None:
        """Put a new file in the old one's place. To be called again where the disk failed again.

        :raise CorruptionError: what can be read is not what was written, or lacks what was
            ``acknowledged`` last; the old file stays where it is.
        """
        directory = self._directory
        if not self._is_closed:
            if not (directory / RENEWED_NAME).exists():
                self._write(directory / NEW_NAME, acknowledged)
            sync_names(directory)
            self.close()
        put_renewed(directory)
        sync_names(directory)

    def close(self) -> None:
        """Let go of the old file."""
        self._is_closed = True
        self._source.close()

    def _write(self, new: Path, acknowledged: Save | None) -> None:
        new.unlink(missing_ok=True)
        try:
            self._copy(new)
            verify(new, acknowledged)
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        new.rename(self._directory / RENEWED_NAME)

    def _copy(self, new: Path) -> None:
        with new.open("xb") as file:  # before anything is written: it is told what befalls that
            try:
                self._source.execute("VACUUM INTO ?", (str(new),))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                raise CorruptionError(f"{FILE_NAME} cannot be read ({error})") from error
            os.fsync(file.fileno())


def verify(file: Path, acknowledged: Save | None) -> None:
    """Read all that is in a file; see that every checksum fits, and that nothing is missing."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        tables.check_all(connection)
        if acknowledged is None:
            return
        header, (base, _) = tables.read_header(connection), tables.read_image(connection)
        wanted = acknowledged.header
        is_older = header is None or (
            header.promised < wanted.promised or header.chosen < wanted.chosen
        )
        slots = {vote.slot for vote in acknowledged.votes if vote.slot > base}
        if is_older or not slots <= tables.slots_from(connection, min(slots, default=0)):
            raise CorruptionError(f"{FILE_NAME} lacks what was saved last: it was set back")
