"""The writer thread: it owns the connections that write, and turns requests into commits.

One turn of its loop::

    take all that is queued  (wait only if there is nothing else to do)
    saves    -> one transaction, one fsync; then the reactor is told
    works    -> to the end of a line
    first work of the line -> one small step, without an fsync of its own

Saves never wait for more than one step of work. A step is written through a connection
with ``synchronous=NORMAL``: it is in the write-ahead log behind the last save and before
the next one, whose fsync carries it. Reads go to a thread of their own, but only once all that was
queued before them is written, so that they see it.

**Checkpoints.** A commit that overwrites an old part of the write-ahead log takes half as
long as one that makes it longer, so the log is kept short and used again. SQLite starts
it afresh only when all of it was copied into the file, which under a steady load never
happens beside the writer. So the reader's thread copies most of it, fsync included, while saves go
on, and the writer then copies the few pages that came meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias, assert_never

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from coord.journal import tables
from coord.journal.directory import connect
from coord.paxos.durable import Save, Value

PAGE_BYTES: Final = 4096
CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""About how much is written before the write-ahead log is copied into the file."""
PAGES_PER_TURN: Final = 4
"""Pages that a transaction writes beside its content, about."""


class Connections(msgspec.Struct, frozen=True):
    """Connections to the one file: ``saves`` waits for the disk, ``steps`` does not."""

    saves: sqlite3.Connection
    steps: sqlite3.Connection
    reads: sqlite3.Connection

    def close(self) -> None:
        """Close all three; the last one copies what is left and drops the log."""
        for one in (self.reads, self.steps, self.saves):
            one.close()


class Work(msgspec.Struct, frozen=True):
    """Something that is done behind the saves, in small steps.

    ``step`` is one short transaction and says whether there is more to do; it writes about
    ``step_bytes``. ``done`` fires after the last.
    """

    step: Callable[[Connections], bool]
    step_bytes: int = 0
    done: Deferred[None] | None = None


class Reading(msgspec.Struct, frozen=True):
    """A wish for values of the log."""

    slot: int
    until: int
    size_bytes_max: int
    done: Deferred[Sequence[Value]]


class _Copied(msgspec.Struct, frozen=True):
    """The reader's thread has copied the write-ahead log, or could not."""

    error: Exception | None


class _Stop(msgspec.Struct, frozen=True):
    """Finish what is queued, then end."""


Request: TypeAlias = Save | Work | Reading | _Copied | _Stop


# -- what the reactor is told -------------------------------------------------------
class Saved(msgspec.Struct, frozen=True):
    """All saves up to ``ticket``, that of the ``last``, are on the disk."""

    ticket: int
    last: Save


class Done(msgspec.Struct, frozen=True):
    """What was asked for is done, or failed: hand ``result`` to ``deferred``."""

    deferred: Deferred[Any]
    result: Sequence[Value] | Failure | None


class Failed(msgspec.Struct, frozen=True):
    """The disk failed, and nothing will be written any more."""

    error: Exception


class Closed(msgspec.Struct, frozen=True):
    """The thread has let go of the disk; the last news."""


News: TypeAlias = Saved | Done | Failed | Closed


class Writer:
    """The thread and its queue. ``tell`` is called with news, in this thread or the reader's."""

    def __init__(self, directory: Path, tell: Callable[[News], None]) -> None:
        self._tell = tell
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._taken: deque[Request] = deque()
        self._line: deque[Work] = deque()
        self._stopping = False
        self._uncopied_bytes = 0
        self._copying = False
        self._reader = ThreadPoolExecutor(1, "coord-journal-reader")
        self._connections = Connections(
            saves=connect(directory, synchronous="FULL"),
            steps=connect(directory, synchronous="NORMAL"),
            reads=connect(directory, synchronous="NORMAL"),
        )
        # A daemon: a program that ends without closing leaves no more than a crash would.
        self._thread = Thread(target=self._run, name="coord-journal-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, request: Save | Work | Reading) -> None:
        """Queue a request; from the reactor's thread."""
        self._requests.put(request)

    def stop(self) -> None:
        """Finish all that is queued, then let go of the disk; ends with `Closed`."""
        self._requests.put(_Stop())

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    # -- in the thread ----------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._stopping or self._line or not self._requests.empty():
                self._turn()
        except Exception as error:  # whatever it is, nothing is acknowledged after it
            self._tell(Failed(error))
            self._refuse(error)
        self._reader.shutdown()
        with suppress(sqlite3.Error):  # what it could not tidy up, the next opening will
            self._connections.close()
        self._tell(Closed())

    def _turn(self) -> None:
        self._take()
        saves = [one for one in self._taken if isinstance(one, Save)]
        if saves:
            size_bytes = tables.save(self._connections.saves, saves)
            self._tell(Saved(saves[-1].ticket, saves[-1]))
            self._wrote(size_bytes)
        while self._taken:
            self._accept(self._taken[0])
            self._taken.popleft()
        if self._line:
            self._step(self._line[0])

    def _take(self) -> None:
        """Take all that is queued; wait for the first only where there is no work to do."""
        try:
            self._taken.append(self._requests.get(block=not self._line))
            while True:
                self._taken.append(self._requests.get_nowait())
        except Empty:
            pass

    def _accept(self, request: Request) -> None:
        match request:
            case Save():
                pass  # written already, with the others of its turn
            case Work():
                self._line.append(request)
            case Reading():
                self._reader.submit(self._read, request)
            case _Copied():
                self._copy_rest(request)
            case _Stop():
                self._stopping = True
            case _:
                assert_never(request)

    def _step(self, work: Work) -> None:
        more = work.step(self._connections)
        self._wrote(work.step_bytes)
        if not more:
            self._line.popleft()
            if work.done:
                self._tell(Done(work.done, None))

    def _refuse(self, error: Exception) -> None:
        """Fail all that is queued and all that will be, until told to stop."""
        waiting: deque[Request] = deque((*self._line, *self._taken))
        while not self._stopping:
            request = waiting.popleft() if waiting else self._requests.get()
            match request:
                case Work(done=Deferred() as done) | Reading(done=done):
                    self._tell(Done(done, Failure(error)))
                case _Stop():
                    self._stopping = True

    # -- the write-ahead log -------------------------------------------------------------
    def _wrote(self, size_bytes: int) -> None:
        self._uncopied_bytes += size_bytes + PAGES_PER_TURN * PAGE_BYTES
        if self._uncopied_bytes > CHECKPOINT_BYTES and not self._copying:
            self._copying = True
            self._reader.submit(self._copy_most)

    def _copy_rest(self, copied: _Copied) -> None:
        if copied.error is not None:
            raise copied.error
        self._copying = False
        whole = tables.checkpoint(self._connections.saves)
        self._uncopied_bytes = 0 if whole else CHECKPOINT_BYTES * 3 // 4  # soon again

    # -- in the reader's thread ------------------------------------------------------------
    def _copy_most(self) -> None:
        try:
            tables.checkpoint(self._connections.reads)
            self._requests.put(_Copied(None))
        except Exception as error:
            self._requests.put(_Copied(error))

    def _read(self, reading: Reading) -> None:
        result: Sequence[Value] | Failure
        try:
            result = tables.read_values(
                self._connections.reads, reading.slot, reading.until, reading.size_bytes_max
            )
        except Exception as error:
            result = Failure(error)
        self._tell(Done(reading.done, result))
