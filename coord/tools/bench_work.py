"""What a load generator asks for: requests made beforehand, and what must answer them."""

from __future__ import annotations

import resource
import socket
from typing import Final, NamedTuple

import msgspec

RING_REQUESTS: Final = 8192
"""A number that all operations' lines divide, so that each goes round without a seam. Far above
what a session remembers of ids, so that each write with an id is a new one."""
INLINE_BYTES_MAX: Final = 1024
"""Longer values come back on lines of their own (the protocol fixes it)."""
LINES: Final = {"lock": 2, "transaction": 4}
"""How many lines one of an operation has, where it is more than one."""
QUEUED: Final = b"QUEUED"
"""What answers a line of a transaction but the last."""
SPARE_FILES: Final = 64


class Address(NamedTuple):
    """Where a server is, and the secret that it is shown first, if any."""

    host: str
    port: int
    secret: bytes = b""


class Lost(Exception):
    """A server closed the connection, or could not be reached."""


class Wrong(Exception):
    """An answer is not one that the protocol allows here."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for: ``operation`` is one of `coord.tools.bench.OPERATIONS`."""

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

    def steps(self, number: int, key: int, part: int) -> list[tuple[bytes, bytes | None]]:
        """Return the lines of one operation, each with what answers it: None for a revision.

        :param number: counts the operations of a connection.
        :param part: is different for each connection.
        """
        match self.operation:
            case "write":
                return [(self.write(key), None)]
            case "once":
                return [(self.write(key).replace(b"SET", b"SET id=%d" % number, 1), None)]
            case "mix":
                return [(self.write(key), None), (self.read(key), self.value(key))]
            case "lock":
                path = b"/bench/lock-%d/%08d" % (part, key)
                return [(b"LOCK %b\n" % path, None), (b"UNLOCK %b\n" % path, None)]
            case "transaction":
                sets = [self.write(key), self.write((key + 1) % self.keys)]
                lines = [b"BEGIN\n", *sets]
                return [*((line, QUEUED) for line in lines), (b"COMMIT\n", None)]
            case _:
                return [(self.read(key), self.value(key))]


class Ring:
    """Requests made beforehand, each with the lines of its answer and what must stand there."""

    def __init__(self, work: Work, first_key: int) -> None:
        self.size = RING_REQUESTS
        reads = work.operation in ("read", "local-read", "mix")
        self.has_literals = reads and work.value_bytes > INLINE_BYTES_MAX
        requests: list[bytes] = []
        self.values: list[bytes | None] = []
        number = 0
        while len(requests) < self.size:
            key = (first_key + number) % work.keys
            for request, value in work.steps(number, key, first_key):
                requests.append(request)
                self.values.append(value)
            number += 1
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


def connect(address: Address, *, is_blocking: bool = False) -> socket.socket:
    """Return a connection, which has shown its secret; raise `Lost` where there is none."""
    try:
        connection = socket.create_connection(address[:2], timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.secret:
            connection.sendall(b"AUTH {%d}\n%b\n" % (len(address.secret), address.secret))
            answer = connection.recv(1000)
            if not answer.startswith(b"OK "):
                raise Wrong(f"the secret opens nothing: {answer[:100]!r}")
    except OSError as error:
        raise Lost(f"{address.host}:{address.port}: {error.strerror or error}") from None
    connection.setblocking(is_blocking)
    return connection


def allow_files(count: int) -> None:
    """See that so many connections may be open at once, if that can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(count + SPARE_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fill(address: Address, work: Work) -> None:
    """Give every key its value, before anyone reads it."""
    with connect(address, is_blocking=True) as connection:
        answers = connection.makefile("rb")
        for first in range(0, work.keys, 256):
            keys = range(first, min(first + 256, work.keys))
            connection.sendall(b"".join(map(work.write, keys)))
            for _ in keys:
                line = answers.readline()
                if not line.startswith(b"OK "):
                    raise Wrong(f"the keys could not be made: {line[:200]!r}")
