"""Standing for election: canvass, promise oneself, prepare (PMS 2.5, 3; PMMC's scout).

One value of `Candidacy` is one ballot's attempt. It asks twice: *canvassing* costs nobody
anything durable, so that a node which cannot win, because others have a leader or because
it cannot hear them, disturbs no one; only with a majority of endorsements does it go on to phase 1.
"""

from __future__ import annotations

from coord.paxos.ballot import Ballot
from coord.paxos.messages import Canvass, Endorse, Prepare, Promise
from coord.paxos.proposer import Candidate
from coord.paxos.state import State


class Candidacy:
    """One ballot's attempt to lead."""

    def __init__(self, state: State, ballot: Ballot) -> None:
        self.ballot = ballot
        self._state = state
        self._slot = state.chosen + 1
        self._latest = state.membership.latest
        self.gathered = Candidate(state.membership.since(self._slot))
        state.broadcast(Canvass(ballot, state.chosen))
        state.out.send((state.node,), Endorse(ballot))

    def endorsed(self, sender: str) -> bool:
        """Count an endorsement; True when it was the one that begins phase 1.

        The promise to oneself is saved before anyone else is asked: were the ballot asked for, then
        forgotten in a crash, it might be used a second time for other values.
        """
        if not self.gathered.endorsed(sender):
            return False
        self._state.acceptor.promise(self.ballot)
        self._state.out.save()
        self._state.out.after_save(self._state.node, Prepare(self.ballot, self._slot))
        return True

    def prepare(self) -> None:
        """Ask the others, now that the promise to oneself is on the disk."""
        state = self._state
        state.broadcast(Prepare(self.ballot, self._slot))
        votes, _ = state.acceptor.report(self._slot, 1 << 62)
        state.out.send((state.node,), Promise(self.ballot, self._slot, 0, state.chosen, votes))

    def promised(self, sender: str, message: Promise) -> None:
        """Gather a promise, and ask for the rest of its votes where they did not fit."""
        more = self.gathered.promised(sender, message)
        if more:
            self._state.out.send((sender,), Prepare(self.ballot, more))
        self._state.learner.aim(self.gathered.chosen)

    @property
    def is_behind(self) -> bool:
        """Whether it has its majority but has to learn first what they know to be chosen."""
        return self.gathered.has_quorum() and self._state.chosen < self.gathered.chosen

    @property
    def has_won(self) -> bool:
        """Whether it may lead.

        What it had to learn first may have been new configurations: of those that govern the
        slots it would open, too, it needs a majority; else it has to stand again.
        """
        latest = self._state.membership.latest
        self.gathered.forget(latest.departed(self._latest))
        if not self.gathered.has_quorum() or self.is_behind:
            return False
        return self.gathered.covers(self._state.membership.since(self._state.chosen + 1))
