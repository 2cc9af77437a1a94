"""Files of backups on a disk: written whole or not at all, read in pieces, and seen to be sound."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec

from coord.wire.backup import NOTHING_LEFT_OUT, Header, LeftOut, Mark
from coord.wire.backup_reader import Reader

PIECE_BYTES: Final = 256 * 1024
STDIO: Final = "-"


class Refused(Exception):
    """It was not done; the text says in one line why, and what to do."""


def stamp(seconds: float) -> str:
    """Return a time, given in seconds since 1970, as the lines of a backup write it."""
    moment = datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def as_stamp(text: str) -> str:
    """Return a person's time as a `stamp`; without a zone it is UTC. `ValueError` if none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return stamp(moment.timestamp())


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes, so many at a time."""
    while piece := file.read(PIECE_BYTES):
        yield piece


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None:
        """Take some whole lines."""

    def finish(self) -> None:
        """Make what was written the file, durably."""

    def restart(self) -> bool:
        """Forget what was written; say whether that could be done."""

    def abandon(self) -> None:
        """Leave nothing behind; nothing happens after `finish`."""


class Partial:
    """A file that gets its name only once it is whole and on the disk.

    Until then it is ``FILE.partial``. :raises Refused: where ``FILE`` is there already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        if path.exists():
            raise Refused(f"{path} is there already: choose another name, or remove it")
        self._file: BinaryIO | None = self._partial.open("wb")

    def write(self, lines: bytes) -> None:
        """Take some whole lines."""
        assert self._file is not None
        self._file.write(lines)

    def finish(self) -> None:
        """Give the file its name; it is on the disk then, and so is the name."""
        file, self._file = self._file, None
        assert file is not None
        with file:
            file.flush()
            os.fsync(file.fileno())
        self._partial.rename(self._path)
        sync_folder(self._path.parent)

    def restart(self) -> bool:
        """Forget what was written."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        return True

    def abandon(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial.unlink(missing_ok=True)


class Pipe:
    """Standard output: what was written is gone."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = sys.stdout.buffer if file is None else file

    def write(self, lines: bytes) -> None:
        """Take some whole lines."""
        self._file.write(lines)

    def finish(self) -> None:
        """See that all is on its way."""
        self._file.flush()

    def restart(self) -> bool:
        """Say that this cannot be."""
        return False

    def abandon(self) -> None:
        """Leave it as it is: cut, as every reader will see."""


def sink(name: str) -> Sink:
    """Return where to write ``name``, ``-`` for standard output; raises `Refused`."""
    return Pipe() if name == STDIO else Partial(Path(name))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Checked(msgspec.Struct, frozen=True):
    """A file that was read from end to end and is sound.

    ``rev`` and ``time`` are how far it goes; ``lines`` counts those between first and last;
    ``name`` is what a file that goes on from it calls it; ``sound_bytes`` is its length, but for
    what is torn at the end of one that is still being written (``is_whole`` is false then).
    """

    header: Header
    lines: int
    rev: int
    time: str
    name: str
    sound_bytes: int
    is_whole: bool
    left_out: LeftOut = NOTHING_LEFT_OUT


def check(file: BinaryIO, *, unfinished: bool = False) -> Checked:
    """Read a file from end to end.

    :raises coord.wire.backup_reader.Damage: at the first line that is not as it was written.
    :raises coord.wire.backup_reader.Foreign: where it is no file of ours.
    """
    reader = Reader(unfinished=unfinished)
    time = ""
    for record in reader.records(pieces(file)):
        if isinstance(record, Header | Mark):
            time = record.time
    lines = reader.end.lines if reader.end else reader.line - 1
    return Checked(
        header=reader.header,
        lines=lines,
        rev=reader.rev,
        time=time,
        name=reader.name,
        sound_bytes=reader.sound_bytes,
        is_whole=reader.end is not None,
        left_out=reader.end.left_out if reader.end else NOTHING_LEFT_OUT,
    )
