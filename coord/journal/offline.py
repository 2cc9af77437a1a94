"""The journal of a node that does not run, read by someone else.

The node takes no notice: its openings are not counted, and nothing that it wrote is changed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from coord.journal import tables
from coord.journal.directory import APPLICATION_ID, FILE_NAME, claim, connect, schemas
from coord.journal.errors import CorruptionError, JournalError, SchemaError
from coord.journal.recovery import Found, recover
from coord.journal.tables import Identity


class Offline(msgspec.Struct, frozen=True):
    """Whose directory it is, and what is in it."""

    identity: Identity
    found: Found

    @property
    def node(self) -> str:
        """The node's name."""
        return self.identity.node

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self.identity.cluster


@contextmanager
def open_offline(directory: Path) -> Iterator[Offline]:
    """Lock a stopped node's directory and read it, until the end of the ``with``. Blocks.

    :raise InUseError: the node runs.
    :raise JournalError: there is no journal, or it was written by another coord.
    :raise CorruptionError: a record is damaged, or a chosen slot is missing.
    """
    if not (directory / FILE_NAME).is_file():
        raise JournalError(f"{directory} is no directory of a node: there is no {FILE_NAME} in it")
    lock = claim(directory)
    try:
        yield Offline(_identity(directory), recover(directory, ()))
    finally:
        os.close(lock)


def _identity(directory: Path) -> Identity:
    try:
        with closing(connect(directory, synchronous="NORMAL")) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                raise CorruptionError(f"{directory / FILE_NAME} is not a journal of coord")
            if version > len(schemas()):
                raise SchemaError(
                    f"{directory} was written by a newer coord (schema {version}, this one knows "
                    f"{len(schemas())}): read it with that one"
                )
            found = tables.read_identity(connection)
    except sqlite3.OperationalError as error:
        raise JournalError(f"{directory / FILE_NAME} cannot be opened ({error})") from error
    except sqlite3.DatabaseError as error:
        raise CorruptionError(f"{directory / FILE_NAME} cannot be read ({error})") from error
    if found is None:
        raise JournalError(f"{directory} belongs to nobody yet: nothing was saved there")
    return found
