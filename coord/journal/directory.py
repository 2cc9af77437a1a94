"""A journal's directory: whose it is, that one process has it, and what stands in it.

Nothing is written before the directory is known to be ours: it is locked, then the schema's
version and the identity are read, and only then is anything changed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Final

from coord.journal import tables
from coord.journal.errors import (
    ADMIT_ANEW,
    CorruptionError,
    IdentityError,
    InUseError,
    JournalError,
    SchemaError,
)
from coord.journal.tables import Identity

FILE_NAME: Final = "coord.db"
LOCK_NAME: Final = "lock"
NEW_NAME: Final = f"{FILE_NAME}.new"
"""A file in the making that is to take the journal's place."""
RENEWED_NAME: Final = f"{FILE_NAME}.renewed"
"""Such a file once it is whole and on the disk: what stands beside it is worth nothing any more."""
APPLICATION_ID: Final = int.from_bytes(b"cord", "big")
WAL_KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""What is left of a write-ahead log that grew beyond it while it could not be reused."""


def schemas() -> tuple[str, ...]:
    """Return the schema's versions as SQL, the first first."""
    folder = resources.files("coord.journal") / "schema"
    names = sorted(one.name for one in folder.iterdir() if one.name.endswith(".sql"))
    return tuple((folder / name).read_text("utf-8") for name in names)


def claim(directory: Path) -> int:
    """Make the directory where it is missing and lock it; return the lock's descriptor.

    What an earlier life was about to put in the journal's place is put there.

    :raise InUseError: another process (or another journal of this one) has it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InUseError(f"{directory} is in use by another process: stop that one first") from None
    try:
        put_renewed(directory)
    except OSError:
        os.close(lock)
        raise
    return lock


def put_renewed(directory: Path) -> None:
    """Put a renewed file in the journal's place, if there is one; nobody may have that open.

    Before the file its log has to go: it would be taken for the log of the new one. So from the
    first step on only the new file counts, whenever this is broken off.
    """
    renewed = directory / RENEWED_NAME
    if renewed.exists():
        for tail in ("-wal", "-shm", "-journal"):
            (directory / f"{FILE_NAME}{tail}").unlink(missing_ok=True)
        sync_names(directory)
        renewed.rename(directory / FILE_NAME)
        sync_names(directory)
    (directory / NEW_NAME).unlink(missing_ok=True)


def connect(directory: Path, *, synchronous: str) -> sqlite3.Connection:
    """Open the file; ``synchronous`` is SQLite's ``FULL`` or ``NORMAL``.

    Checkpoints are made by the writer alone, when it suits it. Freed pages are not
    overwritten with zeros: that would write each page that a trim frees.
    """
    connection = sqlite3.connect(
        directory / FILE_NAME, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute("PRAGMA secure_delete = 0").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def identify(
    directory: Path, *, node: str, cluster: str | None, versions: Sequence[str] | None = None
) -> Identity:
    """Check whose directory it is, or make it ours; count and save this opening.

    ``versions`` is the schema, `schemas` if not given.

    :raise IdentityError: it is another node's or another cluster's.
    :raise SchemaError: a newer coord wrote it.
    :raise CorruptionError: its file is not a journal.
    :raise JournalError: the disk does not let us.
    """
    try:
        with closing(connect(directory, synchronous="FULL")) as connection:
            return _identify(directory, connection, node, cluster, versions or schemas())
    except sqlite3.OperationalError as error:
        raise JournalError(
            f"{directory / FILE_NAME} cannot be opened ({error}): look at the disk and its rights"
        ) from error
    except sqlite3.DatabaseError as error:
        raise CorruptionError(
            f"{directory / FILE_NAME} cannot be read ({error}): {ADMIT_ANEW}"
        ) from error


def _identify(
    directory: Path,
    connection: sqlite3.Connection,
    node: str,
    cluster: str | None,
    versions: Sequence[str],
) -> Identity:
    version = _version(directory, connection, len(versions))
    found = tables.read_identity(connection) if version else None
    if version and not found and tables.read_header(connection):
        raise CorruptionError(
            f"{directory}: the record of whose journal this is is gone: {ADMIT_ANEW}"
        )
    if found:
        _check(directory, found, (node, cluster))
    connection.execute("PRAGMA auto_vacuum = 0")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # The last life may have ended because a save did not reach the disk. The kernel may have it
    # still, and would never write it: so what is in the log is written anew, and the log begun
    # afresh, before anything stands in it behind such a save.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _upgrade(directory, connection, version, versions)
    found = found or Identity(node, cluster or secrets.token_hex(8), 0, "")
    disk = found.disk or secrets.token_hex(8)
    identity = Identity(found.node, found.cluster, found.incarnation + 1, disk)
    tables.write_identity(connection, identity)
    sync_names(directory)
    return identity


def _version(directory: Path, connection: sqlite3.Connection, newest: int) -> int:
    """Return the version of the schema in the file, 0 where it is new; or refuse it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (version or tables) and application != APPLICATION_ID:
        raise CorruptionError(
            f"{directory / FILE_NAME} is not a journal of coord: choose another directory"
        )
    if version > newest:
        raise SchemaError(
            f"{directory} was written by a newer coord (schema {version}, this one knows "
            f"{newest}): start it with that one"
        )
    return int(version)


def _check(directory: Path, found: Identity, wanted: tuple[str, str | None]) -> None:
    node, cluster = wanted
    if found.node != node:
        raise IdentityError(
            f"{directory} belongs to node {found.node}, not {node}: "
            "name that node or choose another directory"
        )
    if cluster is not None and found.cluster != cluster:
        raise IdentityError(
            f"{directory} belongs to cluster {found.cluster}, not {cluster}: "
            "name that cluster or choose another directory"
        )


def _upgrade(
    directory: Path, connection: sqlite3.Connection, version: int, versions: Sequence[str]
) -> None:
    """Bring the schema from ``version`` to the newest; an old file is copied first."""
    if 0 < version < len(versions):
        backup = directory / f"{FILE_NAME}.schema-{version}"
        backup.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(backup),))
    for number, script in enumerate(versions[version:], version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT")


def sync_names(directory: Path) -> None:
    """Make the names of the file and of its directory survive a power cut."""
    for folder in (directory, directory.resolve().parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
