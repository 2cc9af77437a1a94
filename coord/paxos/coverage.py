"""Phase 1 for the voters of configurations that a leader learns of while it leads.

The promises that made it leader came from majorities of the configurations that it knew then. One
that it learns later, its own or one that phase 1 found, governs from some slot on; and what is
proposed there is chosen by other acceptors, who may have promised this leader nothing. An earlier
leader, that knew of the configuration before, may have had values chosen by them. So no slot is
opened that such a configuration governs before a majority of its voters has promised, too::

    slot    ... s-1   s    s+1 ... s+alpha-1 | s+alpha ...
    chosen by   C1   C2 is     C1            |    C2
                     chosen                  `- not before a majority of C2 promised

Most often it holds already, or after one question to the voters that are new; the slots before it
give time for that. Where an answer tells of a vote in those slots, or that one of them is chosen,
this leader has learnt that it was not the latest, and has to stand again: then it finds all.
"""

from __future__ import annotations

from coord.paxos.ballot import Ballot
from coord.paxos.lease import NO_TIME
from coord.paxos.membership import Governs
from coord.paxos.messages import Prepare, Promise
from coord.paxos.proposer import Candidate
from coord.paxos.state import State


class Coverage:
    """For which configurations, and so slots, the promises of one ballot are enough.

    ``first`` is the first configuration for which they are not, None where there is none.
    """

    def __init__(self, state: State, ballot: Ballot, gathered: Candidate) -> None:
        self.first: Governs | None = None
        self._state = state
        self._ballot = ballot
        self._gathered = gathered
        self._asked_at = NO_TIME
        self._latest = state.membership.latest
        self._covered = state.membership.knowledge

    def holds(self, slot: int) -> bool:
        """Say whether ``slot`` may be opened, and what is known of it be believed."""
        return self.first is None or slot < self.first.slot

    def last(self, slot: int) -> int:
        """Return the last slot up to ``slot`` that may be opened."""
        return slot if self.first is None else min(slot, self.first.slot - 1)

    def review(self) -> None:
        """Take note of configurations learnt since, and ask those that have to promise."""
        latest = self._state.membership.latest
        if latest is not self._latest:
            self._gathered.forget(latest.departed(self._latest))
            self._latest = latest
            self._go_on()

    def promised(self, sender: str, message: Promise) -> bool:
        """Count a promise; False where it shows that another leader knew more than this one."""
        first = self.first
        if first is None or message.slot != first.slot:
            return True
        if message.votes or message.chosen >= first.slot:
            return False
        self._gathered.joined(sender)
        self._go_on()
        return True

    def tick(self) -> None:
        """Ask again where there was no answer."""
        if self.first and self._state.now - self._asked_at > self._state.timing.retry_seconds:
            self._ask(self.first)

    def _go_on(self) -> None:
        before, self.first = self.first, None
        for one in self._state.membership.known():
            if one.slot <= self._covered:
                continue
            if not self._gathered.covers((one.configuration,)):
                self.first = one
                break
            self._covered = one.slot
        if self.first is not None and self.first is not before:
            self._ask(self.first)

    def _ask(self, governs: Governs) -> None:
        self._asked_at = self._state.now
        missing = self._gathered.missing(governs.configuration)
        others = tuple(node for node in missing if node != self._state.node)
        self._state.out.send(others, Prepare(self._ballot, governs.slot))
