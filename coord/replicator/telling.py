"""What a node tells others of the log beside proposals: what was chosen, and what they missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from coord.limits import MESSAGE_BYTES_SOFT
from coord.paxos.durable import Value
from coord.paxos.effects import Effects, Recall
from coord.paxos.messages import Supply
from coord.paxos.replica import Replica
from coord.replicator.account import Account
from coord.replicator.interfaces import IJournal, IPeers
from coord.wire import peer as wire

ANNOUNCE_SECONDS: Final = 0.001
"""How long a node that waits for nothing may not be told what was chosen."""


class Announcements:
    """Tells the other nodes what was chosen: at once those that wait for it, the rest soon.

    Most often the next proposal tells it to the rest on its way; a message of its own would cost
    each of them a turn, and the leader a system call, for nothing.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        replica: Replica,
        *,
        now: Callable[[], float],
        obey: Callable[[Effects], None],
        tell_all: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._replica = replica
        self._now = now
        self._obey = obey
        self._tell_all = tell_all
        self._owed: set[str] = set()
        self._call: IDelayedCall | None = None

    def owe(self, node: str) -> None:
        """Take note that ``node`` waits for what was just chosen."""
        self._owed.add(node)

    def send(self) -> None:
        """Tell those who wait, and have the rest told soon."""
        if self._replica.untold():
            self._obey(self._replica.announce(self._now(), self._owed))
            if self._call is None and self._replica.untold():
                self._call = self._reactor.callLater(ANNOUNCE_SECONDS, self._tell)
        self._owed.clear()

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _tell(self) -> None:
        self._call = None
        self._tell_all()


class Recalls:
    """Sends old chosen values from the journal to peers that were away; notes what nobody has."""

    _log = Logger()

    def __init__(self, journal: IJournal, peers: IPeers, account: Account) -> None:
        self._journal = journal
        self._peers = peers
        self._account = account
        self._complained: set[str] = set()

    def told_of_gap(self, sender: str, oldest: int) -> None:
        """Take note that a peer's log begins only at ``oldest``."""
        self._account.images.receiving.told_of_gap(sender, oldest)
        gap = self._account.gap()
        if gap is not None and self._complains_first(sender):
            self._log.warn("{gap}; {peer} says so", gap=gap, peer=sender)

    def send(self, recall: Recall) -> None:
        """Read what a peer asks for, and send it."""
        reading = self._journal.read(recall.slot, recall.until, MESSAGE_BYTES_SOFT)

        def found(values: Sequence[Value]) -> None:
            oldest = 0 if values else self._journal.oldest()
            if oldest > recall.slot and self._complains_first(recall.peer):
                self._log.warn(
                    "{peer} asks for slot {slot}, but the log begins at {oldest}",
                    peer=recall.peer,
                    slot=recall.slot,
                    oldest=oldest,
                )
            supply = Supply(recall.slot, tuple(values), oldest)
            self._peers.send(recall.peer, wire.encode(supply))

        reading.addCallback(found)
        reading.addErrback(lambda failure: self._log.failure("cannot read the log", failure))

    def _complains_first(self, peer: str) -> bool:
        """Say whether nothing was logged about a peer yet; once is enough."""
        is_first = peer not in self._complained
        self._complained.add(peer)
        return is_first
