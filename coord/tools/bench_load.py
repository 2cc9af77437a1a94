"""Closed loops over plain sockets: so many requests outstanding, one more for each answer.

The load generator shares the machine with what it measures, so it does next to nothing for a
request: all requests are made beforehand, in one piece of bytes; answers are counted by
their line ends, and sent for again with one slice of that piece. A latency is known for each
burst that was sent together, and each answer is counted to the burst that asked for it.
"""

from __future__ import annotations

import selectors
from collections import Counter, deque
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from coord.tools.bench_work import INLINE_BYTES_MAX, QUEUED, Address, Lost, Ring, Wrong, connect

RECEIVE_BYTES: Final = 256 * 1024
CHECK_EVERY: Final = 31
"""One answer in so many receipts is compared with what it must be; a prime, so that every key
has its turn."""


class Connection:
    """One connection with its requests outstanding; answers come in order."""

    def __init__(self, address: Address, ring: Ring, errors: Counter[str]) -> None:
        self.socket = connect(address)
        self._ring = ring
        self._errors = errors
        self._sent = 0
        self._answered = 0
        self._bursts: deque[list[float]] = deque()  # [when sent, requests not yet answered]
        self._unsent: deque[memoryview] = deque()
        self._tail = b""
        self._receipts = 0
        self._rev = 0

    @property
    def is_stuffed(self) -> bool:
        """Whether the kernel took less than was asked for."""
        return bool(self._unsent)

    @property
    def outstanding(self) -> int:
        """How many requests wait for their answers."""
        return self._sent - self._answered

    def ask(self, number: int, now: float) -> None:
        """Send so many more requests."""
        self._bursts.append([now, number])
        self._unsent.extend(self._ring.slices(self._sent, number))
        self._sent += number
        self.flush()

    def flush(self) -> None:
        """Send what the kernel takes."""
        while self._unsent:
            piece = self._unsent[0]
            try:
                taken = self.socket.send(piece)
            except BlockingIOError:
                return
            except OSError as error:
                raise Lost(str(error)) from None
            if taken < len(piece):
                self._unsent[0] = piece[taken:]
                return
            self._unsent.popleft()

    def receive(self) -> int:
        """Take what has come, and return how many answers it completed."""
        try:
            received = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Lost(str(error)) from None
        if not received:
            raise Lost("the server closed the connection")
        content = self._tail + received if self._tail else received
        end = content.rfind(b"\n") + 1
        self._tail = content[end:]
        answers = self._count(content[:end], content.count(b"\n", 0, end))
        self._receipts += 1
        if answers and self._receipts % CHECK_EVERY == 1:
            self._check(content)
        self._answered += answers
        return answers

    def settle(self, answers: int, now: float, samples: list[tuple[float, int]]) -> None:
        """Count so many answers to the bursts that asked for them."""
        while answers:
            burst = self._bursts[0]
            taken = min(answers, int(burst[1]))
            samples.append((now - burst[0], taken))
            answers -= taken
            burst[1] -= taken
            if not burst[1]:
                self._bursts.popleft()

    def _count(self, content: bytes, lines: int) -> int:
        """Return how many answers whole lines hold; what is no answer raises `Wrong`."""
        if self._ring.has_literals:
            return self._count_literals(content)
        good = content.count(b"\nOK ") + content.count(b"\nVALUE ")
        good += content.startswith((b"OK ", b"VALUE "))
        if good == lines:
            return lines
        for line in content.splitlines():
            if line.startswith(b"ERR "):
                self._errors[line.split(b" ", 2)[1].decode()] += 1
            elif not line.startswith((b"OK ", b"VALUE ")):
                raise Wrong(f"not an answer: {line[:100]!r}")
        return lines

    def _count_literals(self, content: bytes) -> int:
        """Count where values stand on lines of their own; keep what is not whole."""
        lines = content.splitlines(keepends=True)
        position = answers = 0
        while position < len(lines):
            line = lines[position]
            length = 2 if line.endswith(b"}\n") else 1
            if position + length > len(lines):
                self._tail = line + self._tail
                break
            if line.startswith(b"ERR "):
                self._errors[line.split(b" ", 2)[1].decode()] += 1
            elif not line.startswith((b"OK ", b"VALUE ")):
                raise Wrong(f"not an answer: {line[:100]!r}")
            position += length
            answers += 1
        return answers

    def _check(self, content: bytes) -> None:
        """Compare one answer with what it must be: the value asked for, a newer revision."""
        head, _, rest = content.partition(b"\n")
        words = head.split(b" ", 2)
        if words[0] == b"ERR":
            return
        value = self._ring.value(self._answered)
        if value is QUEUED:
            if head.rstrip(b"\r") != b"OK QUEUED":
                raise Wrong(f"a line of a transaction was answered {head[:60]!r}")
            return
        if value is None:
            if words[0] != b"OK" or int(words[1]) <= self._rev:
                raise Wrong(f"revision {self._rev} was followed by {head!r}")
            self._rev = int(words[1])
            return
        told = rest.partition(b"\n")[0] if len(value) > INLINE_BYTES_MAX else words[2]
        if words[0] != b"VALUE" or told != value:
            raise Wrong(f"asked for {value[:40]!r}, was told {head[:60]!r}")


class Load:
    """Some connections, each kept at ``outstanding`` requests."""

    def __init__(self, servers: Sequence[Address], rings: Sequence[Ring], outstanding: int) -> None:
        self.errors: Counter[str] = Counter()
        self._outstanding = outstanding
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        for number, ring in enumerate(rings):
            address = servers[number % len(servers)]
            self._connections.append(Connection(address, ring, self.errors))

    def start(self) -> None:
        """Send the first requests."""
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(self._outstanding, perf_counter())
            self._mind(connection)

    def run(self, seconds: float, samples: list[tuple[float, int]]) -> tuple[int, float]:
        """Go on for so long; return how many answers came, and the time it really took."""
        began = now = perf_counter()
        answers = 0
        while now < began + seconds:
            for key, events in self._selector.select(began + seconds - now):
                answers += self._serve(key.data, events, samples)
            now = perf_counter()
            if not self._connections:
                raise Lost("no connection is left")
        return answers, now - began

    def _serve(self, connection: Connection, events: int, samples: list[tuple[float, int]]) -> int:
        try:
            if events & selectors.EVENT_WRITE:
                connection.flush()
                self._mind(connection)
            if not events & selectors.EVENT_READ:
                return 0
            answers = connection.receive()
            if answers:
                now = perf_counter()
                connection.settle(answers, now, samples)
                connection.ask(answers, now)
                if connection.is_stuffed:
                    self._mind(connection)
            return answers
        except Lost:
            self.errors["(connection lost)"] += connection.outstanding
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._connections.remove(connection)
            return 0

    def _mind(self, connection: Connection) -> None:
        """Wait for room to send in where some is wanted, and only there."""
        events = selectors.EVENT_READ
        if connection.is_stuffed:
            events |= selectors.EVENT_WRITE
        self._selector.modify(connection.socket, events, connection)

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.socket.close()
        self._selector.close()
