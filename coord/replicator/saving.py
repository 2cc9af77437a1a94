"""For how long the disk has owed an answer, and what is said of it.

A disk that hangs stops no node by itself: others' votes make a quorum, what was chosen is learnt
from the leader. But it must not be taken for healthy, and a leader gives way after a while
(`Replicator`): what waits for the disk fills its memory.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from coord.limits import DISK_PATIENCE_SECONDS, DISK_SLOW_SECONDS


class Saving:
    """What was handed to the disk, and since when nothing of it has come back.

    :param now: a clock that never steps.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._handed = 0
        self._since: float | None = None
        self._told_slow = False

    def handed(self, ticket: int) -> None:
        """Take note of a save that begins to wait."""
        self._handed = ticket
        if self._since is None:
            self._since = self._now()

    def saved(self, ticket: int) -> None:
        """Take note that the saves up to this one are on the disk."""
        self._since = self._now() if ticket < self._handed else None

    def waits_seconds(self) -> float:
        """Return for how long the disk has finished nothing though something waits."""
        return 0.0 if self._since is None else self._now() - self._since

    @property
    def is_hung(self) -> bool:
        """Whether that is too long for a node that leads, or is to be called healthy."""
        return self.waits_seconds() > DISK_PATIENCE_SECONDS

    def describe(self) -> str:
        """Return how the disk does: ``ok``, or for how long a save waits."""
        waits_seconds = self.waits_seconds()
        if waits_seconds < DISK_SLOW_SECONDS:
            return "ok"
        return f"slow: a save waits for {waits_seconds:.1f} s"

    def tick(self) -> None:
        """Say in the log that the disk has become slow, or is no more."""
        is_slow = self.waits_seconds() >= DISK_SLOW_SECONDS
        if is_slow and not self._told_slow:
            self._log.warn("the disk is {how}", how=self.describe())
        elif self._told_slow and not is_slow:
            self._log.info("the disk goes on")
        self._told_slow = is_slow
