"""Leader leases: who may answer reads without asking anyone (Chubby 2.8, PML 5.2).

A leader sends numbered beats. An acceptor that answers one promises, for ``lease_seconds``
of its own clock from when it got it, to help no other node become leader. Once a
majority has answered a beat, no other node can be leader until the first of those
promises may run out; the leader counts that from when it *sent* the beat, which is
earlier, on its own clock, shortened for the drift between the two::

      leader  ----beat 7----------------[ lease, as the leader counts it ]
      acceptor       `--answer 7--[ promise to help nobody else           ]

Each clock's rate may be off by ``CLOCK_DRIFT_MAX`` either way; steps of the time of day do
not matter, as these clocks only count. An acceptor that restarts does not know what it
had promised and so helps nobody until the longest such promise has run out.
"""

from __future__ import annotations

from coord.limits import CLOCK_DRIFT_MAX
from coord.paxos.membership import Configuration

NO_TIME = float("-inf")


class Grant:
    """The acceptor's side: whom it has promised to help nobody but, and until when."""

    def __init__(self, quiet_until: float) -> None:
        self._holder = ""
        self._until = quiet_until

    def give(self, node: str, until: float) -> None:
        """Promise ``node`` to help nobody else until ``until``."""
        self._holder = node
        self._until = max(self._until, until)

    def allows(self, node: str, now: float) -> bool:
        """Say whether ``node`` may be helped to become leader."""
        return now >= self._until or (node == self._holder)

    @property
    def until(self) -> float:
        """When anyone may be helped."""
        return self._until


def quiet_seconds(lease_seconds: float) -> float:
    """Return how long after a restart an acceptor helps nobody."""
    return lease_seconds * (1 + CLOCK_DRIFT_MAX) / (1 - CLOCK_DRIFT_MAX)


class Beats:
    """The leader's side: which beats were answered, and how long the lease holds."""

    def __init__(self, node: str, lease_seconds: float, now: float) -> None:
        self._node = node
        self._began_at = now
        self._usable_seconds = lease_seconds * (1 - CLOCK_DRIFT_MAX) / (1 + CLOCK_DRIFT_MAX)
        self._sent_at: dict[int, float] = {}
        self._answered: dict[str, int] = {}
        self.number = 0
        self.confirmed = 0
        self.confirmed_at = NO_TIME

    def send(self, now: float) -> int:
        """Note that a beat leaves now and return its number."""
        self.number += 1
        self._sent_at[self.number] = now
        self._answered[self._node] = self.number
        return self.number

    def answered(self, peer: str, number: int, configuration: Configuration) -> None:
        """Note that ``peer`` answered beat ``number``."""
        if number <= self.number:
            self._answered[peer] = max(number, self._answered.get(peer, 0))
        self.count(configuration)

    def count(self, configuration: Configuration) -> None:
        """Find the latest beat that a majority has answered."""
        numbers = sorted(self._answered.get(voter, 0) for voter in configuration.voters)
        confirmed = numbers[-configuration.majority]
        if confirmed <= self.confirmed:
            return
        self.confirmed = confirmed
        self.confirmed_at = self._sent_at.get(confirmed, NO_TIME)  # too old, if it is gone
        for old in [number for number in self._sent_at if number < confirmed]:
            del self._sent_at[old]

    def recount(self, configuration: Configuration, now: float) -> None:
        """Count anew, as from now on other voters decide who leads.

        What the former confirmed holds nobody of these back. Until they have answered a beat it is
        taken for granted that they listen, as after phase 1.
        """
        self._began_at = now
        self.confirmed, self.confirmed_at = 0, NO_TIME
        self.count(configuration)

    @property
    def heard_at(self) -> float:
        """As of when a majority is known to have listened; phase 1 was the first time."""
        return max(self.confirmed_at, self._began_at)

    @property
    def lease_until(self) -> float:
        """Until when no other node can be leader."""
        return self.confirmed_at + self._usable_seconds
