"""For how long the disk has owed an answer, and what is said of it.

A disk that hangs stops no node by itself: others' votes make a quorum, what was chosen is learnt
from the leader. But it must not be taken for healthy, and a leader gives way after a while
(`Replicator`): what waits for the disk fills its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from coord.limits import DISK_PATIENCE_SECONDS, DISK_SLOW_SECONDS

TICK_SECONDS_MAX: Final = 0.25
"""What a tick counts for at most: who stood still, or was busy, did not hear of the disk."""


class Saving:
    """What was handed to the disk, and for how long (``waits_seconds``) nothing has come back.

    :param now: a clock that never steps.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._handed = 0
        self._owes = False
        self.waits_seconds = 0.0
        self._ticked_at = now()
        self._told_slow = False
        self._has_failed = False

    def handed(self, ticket: int) -> None:
        """Take note of a save that begins to wait."""
        self._handed = ticket
        self._owes = True

    def saved(self, ticket: int) -> None:
        """Take note that the saves up to this one are on the disk."""
        self._owes = ticket < self._handed
        self.waits_seconds = 0.0

    def failed(self) -> None:
        """Take note that nothing will be on the disk any more."""
        self._has_failed = True
        self._owes = False

    @property
    def is_hung(self) -> bool:
        """Whether that is too long for a node that leads, or is to be called healthy."""
        return self.waits_seconds > DISK_PATIENCE_SECONDS

    def describe(self) -> str:
        """Return how the disk does: ``ok``, ``failed``, or for how long a save waits."""
        if self._has_failed:
            return "failed"
        if self.waits_seconds < DISK_SLOW_SECONDS:
            return "ok"
        return f"slow: a save waits for {self.waits_seconds:.1f} s"

    def tick(self) -> None:
        """Count the time, and say in the log that the disk has become slow, or is no more."""
        now = self._now()
        if self._owes:
            self.waits_seconds += min(now - self._ticked_at, TICK_SECONDS_MAX)
        self._ticked_at = now
        is_slow = self.waits_seconds >= DISK_SLOW_SECONDS
        if is_slow and not self._told_slow:
            self._log.warn("the disk is {how}", how=self.describe())
        elif self._told_slow and not is_slow:
            self._log.info("the disk goes on")
        self._told_slow = is_slow
