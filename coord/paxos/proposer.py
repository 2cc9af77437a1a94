"""What a proposer gathers: a candidate promises, a leader votes.

Candidate (phase 1, PMMC's scout)
    It asks for all slots from its first unchosen one on, at once. For each such slot the vote
    of the highest ballot that a quorum reports is the only value it may propose (PMS, P2c).
    It leads once it has a quorum in every configuration that governs those slots, and has
    itself learnt all that anyone of them knew to be chosen.

Slots (phase 2, PMMC's commander)
    First it proposes again what phase 1 found, with values that do nothing for the holes;
    then whatever it is given. At most alpha slots are open beyond the chosen prefix, since
    only so far is it known which configuration governs (PMMC 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coord.paxos.durable import Value, Vote, describe_value
from coord.paxos.membership import Configuration
from coord.paxos.messages import Promise

NO_OP: Value = b""


class Candidate:
    """Endorsements and promises, counted in every configuration that matters.

    ``chosen`` is the furthest that anyone of those who promised knew the log, ``source`` who.
    """

    def __init__(self, quorums: tuple[Configuration, ...]) -> None:
        self.chosen = 0
        self.source = ""
        self.is_preparing = False
        self._quorums = quorums
        self._endorsed: set[str] = set()
        self._complete: set[str] = set()
        self._votes: dict[int, Vote] = {}

    def endorsed(self, by: str) -> bool:
        """Note an endorsement; True when it made a quorum and phase 1 may begin."""
        if self.is_preparing:
            return False
        self._endorsed.add(by)
        self.is_preparing = self._is_quorum(self._endorsed)
        return self.is_preparing

    def promised(self, by: str, promise: Promise) -> int:
        """Note a promise; return the slot to ask on from, 0 where it held everything."""
        if promise.chosen > self.chosen:
            self.chosen, self.source = promise.chosen, by
        for vote in promise.votes:
            known = self._votes.get(vote.slot)
            if known is None or known.ballot < vote.ballot:
                self._votes[vote.slot] = vote
        if not promise.until:
            self._complete.add(by)
        return promise.until

    def joined(self, by: str) -> None:
        """Note a promise that came later and held nothing."""
        self._complete.add(by)

    def forget(self, nodes: Iterable[str]) -> None:
        """Count the promises of these nodes no more."""
        self._complete.difference_update(nodes)

    def missing(self, configuration: Configuration) -> tuple[str, ...]:
        """Return the voters of a configuration who have not promised everything."""
        return tuple(node for node in configuration.voters if node not in self._complete)

    def has_quorum(self) -> bool:
        """Say whether no older proposal can be chosen any more without being known here."""
        return self.is_preparing and self._is_quorum(self._complete)

    def covers(self, quorums: tuple[Configuration, ...]) -> bool:
        """Say whether those who promised everything are a quorum in each of ``quorums``."""
        return all(quorum.is_quorum(self._complete) for quorum in quorums)

    def found(self, chosen: int) -> dict[int, Value]:
        """Return what phase 1 found beyond the chosen prefix, holes filled with no-ops."""
        slots = [slot for slot in self._votes if slot > chosen]
        if not slots:
            return {}
        return {
            slot: self._votes[slot].value if slot in self._votes else NO_OP
            for slot in range(chosen + 1, max(slots) + 1)
        }

    def _is_quorum(self, nodes: set[str]) -> bool:
        return all(quorum.is_quorum(nodes) for quorum in self._quorums)


class Open:
    """One slot in which a value was proposed and is not known to be chosen yet."""

    __slots__ = ("configuration", "sent_at", "value", "voters")

    def __init__(self, value: Value, configuration: Configuration, sent_at: float) -> None:
        self.value = value
        self.configuration = configuration
        self.sent_at = sent_at
        self.voters: set[str] = set()


class Slots:
    """The slots that a leader has open: a value in each, and who has voted for it.

    ``next_slot`` is the first that was never opened; up to ``barrier`` an earlier leader may have
    had values chosen.
    """

    def __init__(self, chosen: int, found: dict[int, Value]) -> None:
        self.next_slot = chosen + 1
        self.barrier = max(found, default=chosen)
        self.opened: dict[int, Open] = {}
        self._found = found

    def is_recovered(self, chosen: int) -> bool:
        """Say whether all that an earlier leader may have had chosen is chosen."""
        return chosen >= self.barrier

    def room(self, last: int) -> int:
        """Return how many new values may be proposed where slots up to ``last`` may be open."""
        if self.next_slot <= self.barrier:
            return 0
        return max(0, last + 1 - self.next_slot)

    def refill(self, last: int) -> list[Value]:
        """Return the next values that phase 1 found, up to slot ``last``."""
        until = min(self.barrier, last) + 1
        return [self._found.pop(slot) for slot in range(self.next_slot, until)]

    def open(self, value: Value, configuration: Configuration, now: float) -> int:
        """Open the next slot for ``value`` and return its number."""
        slot = self.next_slot
        self.opened[slot] = Open(value, configuration, now)
        self.next_slot += 1
        return slot

    def voted(self, by: str, slot: int, until: int) -> Iterator[tuple[int, Value]]:
        """Note votes; yield the slots that are chosen by them and their values."""
        for number in range(max(slot, self._first_open), min(until, self.next_slot)):
            entry = self.opened.get(number)
            if entry is None:
                continue
            entry.voters.add(by)
            if entry.configuration.is_quorum(entry.voters):
                del self.opened[number]
                yield number, entry.value

    def overdue(self, before: float) -> list[int]:
        """Return the open slots last sent before then, in order."""
        return [slot for slot, entry in self.opened.items() if entry.sent_at < before]

    def describe(self, now: float) -> list[str]:
        """Return one line for each open slot: what it holds, who voted, since when it waits."""
        return [
            f"{slot} proposed {describe_value(entry.value)}, votes"
            f" {' '.join(sorted(entry.voters)) or '-'} of {' '.join(entry.configuration.voters)},"
            f" sent {now - entry.sent_at:.3f} s ago"
            for slot, entry in self.opened.items()
        ]

    @property
    def _first_open(self) -> int:
        return next(iter(self.opened), self.next_slot)
