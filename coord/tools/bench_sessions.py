"""Many sessions that do nothing but live: what it costs to keep them.

Each has a connection of its own and says ``PING`` three times in its timeout; the moments are
spread evenly. What befalls a session is counted among the errors.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter, deque
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from coord.tools.bench_work import Address, Lost, Wrong, allow_files, connect

PINGS_PER_TIMEOUT: Final = 3
RECEIVE_BYTES: Final = 64 * 1024
OPENED_AT_ONCE: Final = 200
"""Sessions asked for before the answers are taken, so that they share batches."""


class Sessions:
    """Connections with a session each."""

    def __init__(self, servers: Sequence[Address], number: int, timeout_seconds: float) -> None:
        allow_files(number)
        self.errors: Counter[str] = Counter()
        self._every = timeout_seconds / PINGS_PER_TIMEOUT
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, float] = {}
        line = b"SESSION timeout=%g\n" % timeout_seconds
        while len(self._sent) < number:
            count = min(OPENED_AT_ONCE, number - len(self._sent))
            first = len(self._sent)
            self._open([servers[(first + one) % len(servers)] for one in range(count)], line)
        now = perf_counter()
        step = self._every / number
        self._due = deque((now + place * step, one) for place, one in enumerate(self._sent))

    def _open(self, addresses: Sequence[Address], line: bytes) -> None:
        opened = [connect(address, is_blocking=True) for address in addresses]
        for connection in opened:
            connection.sendall(line)
        for connection in opened:
            answer = connection.recv(1000)
            if not answer.startswith(b"OK "):
                raise Wrong(f"a session was refused: {answer[:100]!r}")
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
            self._sent[connection] = 0.0

    def run(self, seconds: float, samples: list[tuple[float, int]]) -> tuple[int, float]:
        """Go on for so long; return how many answers came, and the time it really took."""
        began = now = perf_counter()
        answers = 0
        while now < began + seconds:
            self._ping(now)
            wait = min(began + seconds, self._due[0][0]) - now if self._due else seconds
            for key, _ in self._selector.select(max(0.0, wait)):
                answers += self._hear(key.fileobj, samples)  # type: ignore[arg-type]
            now = perf_counter()
            if not self._due:
                raise Lost("no session is left")
        return answers, now - began

    def _ping(self, now: float) -> None:
        """Send what is due."""
        while self._due and self._due[0][0] <= now:
            due, connection = self._due.popleft()
            if connection in self._sent:
                self._sent[connection] = now
                connection.send(b"PING\n")
                self._due.append((max(due + self._every, now), connection))

    def _hear(self, connection: socket.socket, samples: list[tuple[float, int]]) -> int:
        try:
            received = connection.recv(RECEIVE_BYTES)
        except OSError:
            received = b""
        if not received:
            self.errors["(connection lost)"] += 1
            self._selector.unregister(connection)
            del self._sent[connection]
            connection.close()
            return 0
        answers = 0
        for line in received.splitlines():
            if line == b"OK":
                answers += 1
                samples.append((perf_counter() - self._sent[connection], 1))
            else:
                words = line.decode("utf-8", "replace").split()
                self.errors[words[2] if words[:1] == ["EVENT"] else " ".join(words[:2])] += 1
        return answers

    def close(self) -> None:
        """Hang up."""
        for connection in self._sent:
            connection.close()
        self._selector.close()
