"""A socket whose far end takes whatever is sent, at once."""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.testing import MemoryReactor


class Eager(FileDescriptor):
    """Twisted's own buffering and pausing above a kernel that never has enough."""

    def __init__(self) -> None:
        self.memory_reactor = MemoryReactor()
        super().__init__(self.memory_reactor)
        self.connected = 1
        self.taken = bytearray()

    def writeSomeData(self, data: bytes) -> int:
        """Take everything."""
        self.taken += data
        return len(data)

    def getPeer(self) -> UNIXAddress:
        """Return where the far end is."""
        return UNIXAddress(None)

    def turn(self) -> bool:
        """Do what the reactor does once a turn; say whether there was anything to write."""
        wanted = self in self.memory_reactor.getWriters()
        if wanted:
            self.doWrite()
        return wanted
