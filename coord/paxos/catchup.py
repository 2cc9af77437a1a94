"""Catching up: how a node gets chosen values that it never saw (PML 5.1).

One question is under way at a time; each answer holds as much as fits in a message, so a
node that was away for a million slots pulls them at its own pace, and nobody keeps
anything for it. What is answered from memory or from the journal is the same log.

The leader is asked, as it knows most. But whose image a node took is asked first: that one has kept
the log after it, and the leader perhaps not, as it works for everybody.

No answer may mean that it is lost, or that the way is slow. So each time the same question is
asked again only after twice as long: else a slow link would be filled with the same answer.
"""

from __future__ import annotations

from collections.abc import Collection

from coord.limits import FETCH_AGAIN_SECONDS_MAX, RETRY_SECONDS
from coord.paxos.lease import NO_TIME


class Catchup:
    """The one `Fetch` under way, if any."""

    def __init__(self) -> None:
        self._asked_at = NO_TIME
        self._question = ("", 0)
        self._patience_seconds = RETRY_SECONDS
        self._source = ""

    def wants(self, source: str, slot: int, now: float) -> bool:
        """Say whether to ask ``source`` for ``slot`` now: not while the question is fresh."""
        if (source, slot) != self._question:
            self._question = (source, slot)
            self._patience_seconds = RETRY_SECONDS
        elif now - self._asked_at < self._patience_seconds:
            return False
        else:
            self.forsake(source)
            self._patience_seconds = min(2 * self._patience_seconds, FETCH_AGAIN_SECONDS_MAX)
        self._asked_at = now
        return True

    def prefer(self, source: str) -> None:
        """Ask ``source`` first, as long as it answers."""
        self._source = source

    def preferred(self, connected: Collection[str]) -> str:
        """Return whom to ask first, if there is a link, or nothing."""
        return self._source if self._source in connected else ""

    def forsake(self, source: str) -> None:
        """Prefer ``source`` no more."""
        if source == self._source:
            self._source = ""
