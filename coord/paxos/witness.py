"""What the others have heard a node say to be on its disk.

An acceptor that forgets is worse than one that is gone: it may promise twice, or deny a vote that
made a value chosen. A disk that was restored from an old copy forgets without knowing it. So each
node remembers of every other what that one said of its disk: a `Promise` says that a ballot is
promised there, an `Accepted` that votes up to a slot are. A node that comes back with less has had
its disk set back, and gets no link (`coord.replicator.interfaces.IAdmission`).

Promises and votes are said to leaders. So a leader shares what it heard in a beat, once a second;
and each node keeps what it knows beside what it saves anyway, taken anew once a second, so that it
costs no write of its own. What a node has said in the last second or two may thus be known to
nobody, should all others restart at once: this is a net below the net.

All is by a node's name, and ends with its disk: when a configuration gives it another one, or
none, what was said of the former is forgotten. And a node believes only those who know the same
configurations: what another says may be of the former disk.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from coord.limits import WITNESS_SECONDS
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.membership import Configuration


class Witnessed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The most that ``node`` said to be on its disk: a promise, and votes up to ``reach``."""

    node: str
    promised: Ballot = NEVER
    reach: int = 0


class Witness:
    """What one node knows about the disks of all, itself among them.

    ``known`` is what goes to the disk with each save: the same value until `settle` takes it anew.
    """

    def __init__(self, known: Iterable[Witnessed], now: float) -> None:
        self.known = tuple(known)
        self._promised = {one.node: one.promised for one in self.known}
        self._reach = {one.node: one.reach for one in self.known}
        self._settled_at = now

    def of(self, node: str) -> Witnessed:
        """Return what is known of ``node``, which may be nothing."""
        return Witnessed(node, self._promised.get(node, NEVER), self._reach.get(node, 0))

    def said(self, node: str, promised: Ballot, reach: int = 0) -> None:
        """Take note of what a node says to be on its disk. Called for every answer to a vote."""
        if reach > self._reach.get(node, -1):
            self._reach[node] = reach
        known = self._promised.get(node, NEVER)
        if promised != known and promised > known:
            self._promised[node] = promised

    def merge(self, others: Iterable[Witnessed]) -> None:
        """Take over what another node has heard."""
        for one in others:
            self.said(one.node, one.promised, one.reach)

    def forget(self, before: Configuration, after: Configuration) -> None:
        """Forget whoever comes, goes, has another disk than before, or is to be admitted anew."""
        for node in tuple(self._reach):
            stays = node in before.nodes and node in after.nodes
            is_anew = node in before.voters and node in after.learners and not after.disk(node)
            if not stays or is_anew or before.disk(node) != after.disk(node):
                del self._reach[node]
                self._promised.pop(node, None)

    def settle(self, now: float) -> None:
        """Take ``known`` anew, in the order of the names."""
        self._settled_at = now
        self.known = tuple(self.of(node) for node in sorted(self._reach))

    def tick(self, now: float) -> None:
        """Take ``known`` anew if that is due."""
        if now >= self._settled_at + WITNESS_SECONDS:
            self.settle(now)
