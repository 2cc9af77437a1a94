"""What the clients of one round asked and were told, for the judges."""

from __future__ import annotations

import time
from collections import Counter

from coord.simulation.checkers.watches import Watched
from coord.simulation.deeds import Ledger
from coord.simulation.history import History


class Record:
    """One round's histories, and the clock by which they are kept.

    ``now`` is the wall clock's time, with which nodes on this machine stamp; but it does not jump.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.history = History()
        self.ledger = Ledger()
        self.watched: list[Watched] = []
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._moments = 0
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.monotonic() + self._offset

    def moment(self) -> int:
        """Return the next number of a thing that happened at a client."""
        self._moments += 1
        return self._moments

    def path(self, folder: str, name: str) -> str:
        """Return a path that no other round uses: rounds share a cluster, and no history."""
        return f"/{folder}/{self.number}.{name}"

    def count(self, what: str, number: int = 1) -> None:
        """Note that something happened."""
        self.counts[what] += number

    def counted(self, outcome: object) -> None:
        """Note what was told."""
        self.counts[f"answers {getattr(outcome, 'code', '') or 'OK'}"] += 1
