"""Catching up: how a node gets chosen values that it never saw (PML 5.1).

One question is under way at a time; each answer holds as much as fits in a message, so a
node that was away for a million slots pulls them at its own pace, and nobody keeps
anything for it. What is answered from memory or from the journal is the same log.
"""

from __future__ import annotations

from coord.limits import RETRY_SECONDS
from coord.paxos.lease import NO_TIME


class Catchup:
    """The one `Fetch` under way, if any."""

    def __init__(self) -> None:
        self._asked_at = NO_TIME
        self._slot = 0
        self.fetches = 0

    def wants(self, slot: int, now: float) -> bool:
        """Say whether to ask for ``slot`` now: not while the same question is fresh."""
        if slot == self._slot and now - self._asked_at < RETRY_SECONDS:
            return False
        self._slot, self._asked_at = slot, now
        self.fetches += 1
        return True
