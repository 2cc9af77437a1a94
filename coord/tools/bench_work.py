"""What a load generator asks for: requests made beforehand, and what must answer them."""

from __future__ import annotations

import socket
from typing import Final

import msgspec

RING_REQUESTS: Final = 8192
"""An even number, so that a mix goes round without two writes or two reads in a row."""
INLINE_BYTES_MAX: Final = 1024
"""Longer values come back on lines of their own (the protocol fixes it)."""

Address = tuple[str, int]


class Lost(Exception):
    """A server closed the connection, or could not be reached."""


class Wrong(Exception):
    """An answer is not one that the protocol allows here."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for: ``operation`` is write, read, local-read or mix."""

    operation: str
    keys: int
    value_bytes: int

    def path(self, key: int) -> str:
        """Return where the value of a key is."""
        return f"/bench/{key:08d}"

    def value(self, key: int) -> bytes:
        """Return the one value that a key ever has: so that each read can be checked."""
        return (b"%08d." % key * (self.value_bytes // 9 + 1))[: self.value_bytes]

    def write(self, key: int) -> bytes:
        """Return the request that gives a key its value."""
        return b"SET %s %s\n" % (self.path(key).encode(), self.value(key))

    def read(self, key: int) -> bytes:
        """Return the request for a key's value."""
        local = b"local " if self.operation == "local-read" else b""
        return b"GET %s%s\n" % (local, self.path(key).encode())


class Ring:
    """Requests made beforehand, each with the lines of its answer and what must stand there."""

    def __init__(self, work: Work, first_key: int) -> None:
        self.size = RING_REQUESTS
        self.has_literals = work.operation != "write" and work.value_bytes > INLINE_BYTES_MAX
        writing = work.operation == "write"
        mixed = work.operation == "mix"
        requests: list[bytes] = []
        self.values: list[bytes | None] = []
        for number in range(self.size):
            key = (first_key + number // (2 if mixed else 1)) % work.keys
            is_write = writing or (mixed and number % 2 == 0)
            requests.append(work.write(key) if is_write else work.read(key))
            self.values.append(None if is_write else work.value(key))
        self.offsets = [0]
        for request in requests:
            self.offsets.append(self.offsets[-1] + len(request))
        self.content = memoryview(b"".join(requests))

    def slices(self, first: int, number: int) -> list[memoryview]:
        """Return the bytes of ``number`` requests from the ``first`` ever sent on."""
        pieces: list[memoryview] = []
        begin = first % self.size
        while number > 0:
            end = min(begin + number, self.size)
            pieces.append(self.content[self.offsets[begin] : self.offsets[end]])
            number -= end - begin
            begin = 0
        return pieces

    def value(self, number: int) -> bytes | None:
        """Return the value that answers the request of that number; None for a write."""
        return self.values[number % self.size]


def connect(address: Address) -> socket.socket:
    """Return a connection that never blocks; raise `Lost` where there is none."""
    try:
        connection = socket.create_connection(address, timeout=5)
    except OSError as error:
        raise Lost(f"{address[0]}:{address[1]}: {error.strerror or error}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    return connection


def fill(address: Address, work: Work) -> None:
    """Give every key its value, before anyone reads it."""
    with socket.create_connection(address, timeout=30) as connection:
        answers = connection.makefile("rb")
        for first in range(0, work.keys, 256):
            keys = range(first, min(first + 256, work.keys))
            connection.sendall(b"".join(map(work.write, keys)))
            for _ in keys:
                line = answers.readline()
                if not line.startswith(b"OK "):
                    raise Wrong(f"the keys could not be made: {line[:200]!r}")
