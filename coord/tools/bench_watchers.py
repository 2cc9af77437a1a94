"""How long it takes until all watchers of a path have heard of a change.

Times count from when the writer has its answer: the change was committed a little before that.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from coord.tools.bench_work import INLINE_BYTES_MAX, Address, Lost, Wrong, allow_files, connect

RECEIVE_BYTES: Final = 64 * 1024


class Watchers:
    """Connections that watch one path, and one that writes it."""

    path: Final = b"/bench/watched"

    def __init__(self, servers: Sequence[Address], number: int, value_bytes: int) -> None:
        self._value = b"w" * value_bytes
        self._selector = selectors.DefaultSelector()
        self._watching: list[socket.socket] = []
        allow_files(number)
        self.each: list[tuple[float, int]] = []
        """Of the notifications of all windows, how long after the commit they came."""
        self._writer = connect(servers[0], is_blocking=True)
        self._answers = self._writer.makefile("rb")
        for index in range(number):
            self._watch(servers[index % len(servers)])

    def _watch(self, address: Address) -> None:
        connection = connect(address, is_blocking=True)
        connection.sendall(b"WATCH %s\n" % self.path)
        line = connection.recv(200)
        if not line.startswith(b"OK "):
            raise Wrong(f"the watch was refused: {line[:100]!r}")
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, [b""])
        self._watching.append(connection)

    def run(self, seconds: float, samples: list[tuple[float, int]]) -> tuple[int, float]:
        """Write again and again; return how many notifications came, and the time it took."""
        began = now = perf_counter()
        events = 0
        while now < began + seconds:
            rev = self._write()
            committed = perf_counter()
            now = self._gather(b"EVENT %d " % rev, committed)
            events += len(self._watching)
            samples.append((now - committed, 1))
        return events, now - began

    def _write(self) -> int:
        self._writer.sendall(b"SET %s %s\n" % (self.path, self._value))
        line = self._answers.readline()
        if not line.startswith(b"OK "):
            raise Wrong(f"the write was refused: {line[:100]!r}")
        return int(line[3:])

    def _gather(self, wanted: bytes, committed: float) -> float:
        """Wait until every watcher has the event that begins so; return when that was."""
        missing = len(self._watching)
        now = committed
        while missing:
            ready = self._selector.select(10.0)
            if not ready:
                raise Lost(f"{missing} watchers never saw {wanted.decode()}")
            for key, _ in ready:
                if self._heard(key.fileobj, key.data, wanted):  # type: ignore[arg-type]
                    now = perf_counter()
                    self.each.append((now - committed, 1))
                    missing -= 1
        return now

    def _heard(self, connection: socket.socket, kept: list[bytes], wanted: bytes) -> bool:
        received = connection.recv(RECEIVE_BYTES)
        if not received:
            raise Lost("a server closed a watcher's connection")
        content = kept[0] + received
        if content.count(b"\n") < (2 if len(self._value) > INLINE_BYTES_MAX else 1):
            kept[0] = content
            return False
        kept[0] = b""
        if not content.startswith(wanted) or content.count(b"EVENT ") != 1:
            raise Wrong(f"waited for {wanted!r}, was told {content[:60]!r}")
        return True

    def close(self) -> None:
        """Hang up."""
        for connection in (*self._watching, self._writer):
            connection.close()
        self._selector.close()
