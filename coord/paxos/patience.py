"""Patience: when a node that hears of no leader stands for election.

Everyone waits one lease, as nobody would be helped before, and a random while more, so
that most often one stands before the others do. Who loses its link to the leader, which says
more than silence, waits for less; who failed tries again after a random while.
"""

from __future__ import annotations

from coord.paxos.lease import NO_TIME
from coord.paxos.state import State
from coord.paxos.timing import Dice


class Patience:
    """When the leader was heard, and when to stand for election."""

    def __init__(self, state: State, dice: Dice) -> None:
        self._state = state
        self._dice = dice
        self._heard_at = NO_TIME
        self._ends_at = state.now
        if not state.is_alone:
            self.begin()

    @property
    def is_over(self) -> bool:
        """Whether it is time to stand for election."""
        return self._state.now >= self._ends_at

    @property
    def is_fresh(self) -> bool:
        """Whether the leader was heard not so long ago."""
        return self._state.now <= self._heard_at + self._state.timing.patience_seconds

    def heard(self) -> None:
        """Begin anew: the leader spoke."""
        self._heard_at = self._state.now
        self.begin()

    def lost(self) -> None:
        """Wait no longer than need be: there is no link to the leader any more."""
        self._heard_at = NO_TIME
        self._ends_at = min(self._ends_at, max(self._soon(), self._state.now))

    def begin(self) -> None:
        """Wait a lease, and as long as one is granted to someone, and a random while."""
        state = self._state
        until = max(state.now + state.timing.lease_seconds, state.grant.until)
        self._ends_at = until + self._jitter(state.timing.spread_seconds)

    def stand_back(self) -> None:
        """Wait so long that any other node that can lead is elected first."""
        self.begin()
        self._ends_at += 2 * self._state.timing.patience_seconds

    def until_free(self) -> None:
        """Wait until nobody is granted a lease any more."""
        self._ends_at = self._soon()

    def retry(self, seconds: float) -> None:
        """Try again after some seconds and a random while."""
        self._ends_at = self._state.now + seconds + self._jitter(self._state.timing.retry_seconds)

    def _soon(self) -> float:
        return self._state.grant.until + self._jitter(self._state.timing.spread_seconds / 4)

    def _jitter(self, seconds: float) -> float:
        return self._dice.random() * seconds
