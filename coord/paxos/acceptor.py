"""The acceptor: the memory of the cluster (PMS 2.2, PMMC 2.1).

Two rules make Paxos safe, and both are here:

P1a  An acceptor accepts a proposal of a ballot exactly if it has not promised a higher one.
P2c  What it accepted it tells to every higher ballot that asks.

It forgets a vote only once the slot is known to be chosen; from then on it answers for
the slot with "chosen", and the value is to be had from the log.
"""

from __future__ import annotations

from collections.abc import Iterable

from coord.limits import AHEAD_BYTES_MAX
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Value, Vote


def size_of(value: Value) -> int:
    """Return about how many bytes a value takes on the wire."""
    return len(value) + 16 if isinstance(value, bytes) else 256


class Acceptor:
    """What this node has promised, and its votes for slots not known to be chosen."""

    def __init__(self, promised: Ballot, votes: Iterable[Vote]) -> None:
        self.promised = promised
        self.votes = {vote.slot: vote for vote in votes}
        self._ahead_bytes = sum(size_of(vote.value) for vote in self.votes.values())

    def promise(self, ballot: Ballot) -> bool:
        """Promise to accept nothing below ``ballot``; False if a higher one was promised."""
        if ballot < self.promised:
            return False
        self.promised = ballot
        return True

    def has_room(self, slot: int) -> bool:
        """Say whether memory allows votes from ``slot`` on.

        Before the last vote there is always room: a new leader begins there, and unless it is
        heard the memory will never be free again.
        """
        return self._ahead_bytes < AHEAD_BYTES_MAX or slot <= max(self.votes, default=0)

    def vote(self, ballot: Ballot, slot: int, value: Value) -> Vote | None:
        """Accept ``value`` at ``ballot``, which is promised; None if that was done before."""
        assert ballot == self.promised, "P1a: only the promised ballot gets votes"
        old = self.votes.get(slot)
        if old is not None:
            if old.ballot == ballot:
                assert old.value == value, "one ballot, one slot, one value"
                return None
            self._ahead_bytes -= size_of(old.value)
        vote = Vote(slot, ballot, value)
        self.votes[slot] = vote
        self._ahead_bytes += size_of(value)
        return vote

    def report(self, slot: int, size_bytes_max: int) -> tuple[tuple[Vote, ...], int]:
        """Return the votes from ``slot`` on that fit, and where to go on (0: nowhere)."""
        picked: list[Vote] = []
        size_bytes = 0
        for number in sorted(number for number in self.votes if number >= slot):
            if size_bytes >= size_bytes_max:
                return tuple(picked), number
            picked.append(self.votes[number])
            size_bytes += size_of(picked[-1].value)
        return tuple(picked), 0

    def forget(self, slot: int) -> None:
        """Drop the vote for a slot that is known to be chosen."""
        vote = self.votes.pop(slot, None)
        if vote is not None:
            self._ahead_bytes -= size_of(vote.value)
