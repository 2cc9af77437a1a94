"""What the roles of one replica share: the memory, the time, and the way out.

A replica speaks to itself as to anyone: what is addressed to its own node comes back in
through the door, at once or, where it depends on a save, after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coord.limits import MESSAGE_BYTES_SOFT
from coord.paxos.acceptor import Acceptor
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Durable, Header, Value
from coord.paxos.learner import Learner
from coord.paxos.lease import Grant, quiet_seconds
from coord.paxos.membership import Configuration, Governs, Membership
from coord.paxos.messages import Fetch, Message, Supply
from coord.paxos.outbox import Outbox
from coord.paxos.timing import Timing
from coord.paxos.witness import Witness


class State:
    """The acceptor, the learner and all else that outlives a change of role.

    :param is_reachable: others may come and know more, though this node was told of none.
    """

    def __init__(
        self, node: str, durable: Durable, timing: Timing, now: float, *, is_reachable: bool
    ) -> None:
        self.node = node
        self.timing = timing
        self.now = now
        self.membership = Membership(durable.header.governs, timing.alpha)
        known = max(durable.header.chosen, durable.base)
        self.acceptor = Acceptor(
            durable.header.promised, (vote for vote in durable.votes if vote.slot > known)
        )
        self.learner = Learner(durable.base, timing.recent_bytes_max)
        is_told_so = all(one.voters == (node,) for one in self.membership.since(known + 1))
        self.is_alone = is_told_so and not (is_reachable and known == 0 and self._is_fresh)
        quiet = 0.0 if self.is_alone else quiet_seconds(timing.lease_seconds)
        self.grant = Grant(now + quiet)
        self.witness = Witness(durable.header.witnessed, now)
        self.connected: set[str] = set()
        self.known_elsewhere = 0
        self.out = Outbox(node, known)

    @property
    def chosen(self) -> int:
        """The end of the chosen prefix."""
        return self.learner.chosen

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered, though there are others who may remember something."""
        return self._is_fresh and not self.is_alone

    @property
    def _is_fresh(self) -> bool:
        acceptor = self.acceptor
        return acceptor.promised == NEVER and not acceptor.votes and not self.chosen

    @property
    def is_forgetful(self) -> bool:
        """Whether nothing is remembered, and somebody knows of configurations later than here."""
        return self.is_empty and self.known_elsewhere > self.membership.knowledge

    @property
    def is_voter(self) -> bool:
        """Whether this node votes in any configuration that governs an unchosen slot."""
        governing = self.membership.since(self.chosen + 1)
        return any(self.node in one.voters for one in governing)

    @property
    def others(self) -> tuple[str, ...]:
        """All nodes but this one of every configuration that governs an unchosen slot."""
        governing = self.membership.since(self.chosen + 1)
        nodes = dict.fromkeys(node for one in governing for node in one.nodes)
        return tuple(node for node in nodes if node != self.node)

    def broadcast(self, message: Message) -> None:
        """Send ``message`` to all others."""
        self.out.send(self.others, message)

    def has_room(self, slot: int) -> bool:
        """Say whether memory and the disk allow votes from ``slot`` on."""
        return not self.out.is_full and self.acceptor.has_room(slot)

    def vote(self, ballot: Ballot, slot: int, values: Sequence[Value]) -> None:
        """Vote for values in the slots from ``slot`` on that are not known to be chosen.

        Whoever hears of the votes takes the ballot for promised on this disk. So that is saved even
        where there is nothing to vote for.
        """
        if slot + len(values) <= self.chosen + 1:
            self.out.save()
        for number, value in enumerate(values, slot):
            if number > self.chosen:
                vote = self.acceptor.vote(ballot, number, value)
                if vote is not None:
                    self.out.save(vote)

    def skip(self, now: float, slot: int, governs: Iterable[Governs]) -> None:
        """Go on after ``slot``, whose outcome is on the disk already, with all configurations.

        What was promised stays, and so do the votes for later slots: no acceptor takes any back.
        """
        self.now = now
        for known in [known for known in self.acceptor.votes if known <= slot]:
            self.acceptor.forget(known)
        self.learner.skip(slot)
        before = self.membership.latest
        self.membership.replace(governs)
        self.witness.forget(before, self.membership.latest)
        self.witness.settle(now)
        self.out.save()

    def supply(self, peer: str, message: Fetch) -> None:
        """Send ``peer`` chosen values that it lacks, or have them read from the journal."""
        until = min(message.until, self.chosen + 1)
        if message.slot >= until:
            return
        values = self.learner.recall(message.slot, until, MESSAGE_BYTES_SOFT)
        if values is None:
            self.out.recall(peer, message.slot, until)
        else:
            self.out.send((peer,), Supply(message.slot, values))

    def header(self) -> Header:
        """Return what has to be on the disk beside the votes."""
        seen = self.witness.known
        return Header(self.acceptor.promised, self.chosen, self.membership.known(), seen)

    def learnt(self, slot: int, configuration: Configuration) -> None:
        """Take note that ``configuration`` was chosen in ``slot``, which is the last one chosen."""
        before = self.membership.latest
        self.membership.learn(slot, configuration)
        self.witness.forget(before, self.membership.latest)
        self.witness.settle(self.now)
        self.out.save()
