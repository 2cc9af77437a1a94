"""A process that saves until it is killed, or until its disk fails; see ``test_crash``.

``python -m tests.journal.saver DIRECTORY [BYTES]`` writes ``saved TICKET`` for what is
acknowledged and ``failed`` for a failure, a line each. ``BYTES`` limits the size of files.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import cast

from twisted.internet import reactor

from coord.journal.sqlite import Journal, Reactor, open_journal
from tests.journal.contract import INITIAL, save


def tell(line: str) -> None:
    """Write one line so that it is out before anything else happens."""
    os.write(1, f"{line}\n".encode())


class Saver:
    """Saves slot after slot, three at a time, and images now and then."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        header = journal.recover().durable.header
        self._ticket = header.chosen
        journal.observe(self)
        for _ in range(3):
            self._save()

    def _save(self) -> None:
        self._ticket += 1
        slot = self._ticket
        self._journal.save(save(slot, slot, slot + 1, chosen=slot, size_bytes=500))

    def saved(self, ticket: int) -> None:
        """Tell, go on."""
        tell(f"saved {ticket}")
        while self._ticket < ticket + 3:
            self._save()
        if ticket % 20 == 0:
            image = self._journal.start_image(ticket)
            image.add(ticket.to_bytes(8, "big"))
            image.finish().addErrback(lambda _: None)
            self._journal.trim(ticket - 5)

    def failed(self, error: Exception) -> None:
        """Tell; save once more, which must not be acknowledged; close; end."""
        tell("failed")
        self._save()
        reactor.callLater(0, self._close)

    def _close(self) -> None:
        self._journal.close().addCallback(lambda _: reactor.stop())


def main(directory: str, file_bytes_max: int | None = None) -> None:
    """Save for ever."""
    if file_bytes_max is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
    journal = open_journal(cast(Reactor, reactor), Path(directory), node="n1", initial=INITIAL)
    reactor.callWhenRunning(Saver, journal)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
