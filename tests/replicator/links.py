"""Links in memory between loops of one test: `IPeers`, and the hub where frames wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from coord.replicator.interfaces import Card, IAdmission, IPeersObserver, Unfit
from coord.wire import peer as wire

KNOCKS_AGAIN_AFTER = 60
"""Who was refused a link tries again after so many deliveries."""


class Links:
    """`IPeers` of one node; frames wait in the hub until they are delivered."""

    def __init__(self, node: str, hub: Hub) -> None:
        self.node = node
        self.hub = hub
        self.observer: IPeersObserver | None = None
        self.admission: IAdmission | None = None
        self.addresses: dict[str, str] | None = None
        self.sent: list[tuple[str, wire.PeerMessage]] = []
        self.flushes = 0
        self.log: list[str] = []
        self.protocol = wire.PROTOCOL

    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told."""
        self.observer = observer

    def admit_by(self, admission: IAdmission) -> None:
        """Note who decides on links."""
        self.admission = admission

    def send(self, peer: str, frame: bytes) -> None:
        """Queue a frame, if there is a link."""
        message = wire.decode(frame)
        self.log.append(type(message).__name__)
        self.sent.append((peer, message))
        if peer in self.connected():
            self.hub.frames.append((self.node, peer, frame))

    def flush(self) -> None:
        """Count the writes."""
        self.flushes += 1

    def move(self, addresses: Mapping[str, str]) -> None:
        """Have links with these, and no others, after what is queued."""
        self.addresses = dict(addresses)
        for peer in self.hub.linked(self.node):
            if peer not in addresses:
                self.hub.unlink(self.node, peer)

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link."""
        return {peer: self.hub.cards[self.node, peer] for peer in self.hub.linked(self.node)}

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close a link, and tell its other end why."""
        if peer in self.hub.linked(self.node):
            self.hub.unlink(self.node, peer)
            self.hub.later.append(lambda: self.hub.disown(self.node, peer, unfit))

    def connected(self) -> frozenset[str]:
        """Return the peers with a link."""
        return self.hub.reachable(self.node)

    # -- what the hub wants to know --------------------------------------------------------
    def wants(self, peer: str) -> bool:
        """Say whether this node would dial that one."""
        return self.addresses is None or peer in self.addresses

    def card(self) -> Card:
        """Return what this node says of itself, and the version that it speaks."""
        card = self.admission.card() if self.admission else Card(node=self.node, incarnation=1)
        return msgspec.structs.replace(card, protocol=self.protocol)

    def judge(self, card: Card) -> Unfit | None:
        """Return why there is to be no link."""
        return self.admission.judge(card) if self.admission and self.hub.is_strict else None


class Hub:
    """All links; ``frames`` wait to be delivered, and ``later`` to be told.

    Nodes in ``cut`` have no links that anything comes through; `isolate` tells them so. Where it is
    not ``is_strict`` everybody gets a link.
    """

    def __init__(self) -> None:
        self.links: dict[str, Links] = {}
        self.frames: deque[tuple[str, str, bytes]] = deque()
        self.later: deque[Callable[[], None]] = deque()
        self.cut: set[str] = set()
        self.cards: dict[tuple[str, str], Card] = {}
        self.deliveries = 0
        self.is_strict = True
        self._refused: dict[tuple[str, str], int] = {}

    def linked(self, node: str) -> frozenset[str]:
        """Return to whom a node has a link, be it cut."""
        return frozenset(peer for one, peer in self.cards if one == node and peer in self.links)

    def reachable(self, node: str) -> frozenset[str]:
        """Return whom a node has links to."""
        if node in self.cut:
            return frozenset()
        return frozenset(peer for peer in self.linked(node) if peer not in self.cut)

    def isolate(self, node: str) -> None:
        """End all links of a node; both ends are told."""
        others = self.reachable(node)
        self.cut.add(node)
        self.frames = deque(one for one in self.frames if node not in one[:2])
        for other in others:
            self._forget(node, other)
            self._of(node).disconnected(other)
            self._of(other).disconnected(node)

    def heal(self, node: str) -> None:
        """Let a node have its links again."""
        self.cut.discard(node)
        for other in list(self.links):
            if other != node and other not in self.cut:
                self._meet(node, other)

    def deliver(self) -> None:
        """Hand over all that waits now."""
        self.deliveries += 1
        for _ in range(len(self.frames)):
            sender, to, frame = self.frames.popleft()
            if to in self.links and to not in self.cut:
                self._of(to).received(sender, frame)
        while self.later:
            self.later.popleft()()
        names = [name for name in self.links if name not in self.cut]
        for number, one in enumerate(names):
            for other in names[number + 1 :]:
                if other in self.links and one in self.links and (one, other) not in self.cards:
                    self._meet(one, other)

    def unlink(self, node: str, peer: str) -> None:
        """End a link; both ends are told with what is delivered next."""
        self._forget(node, peer)

        def tell() -> None:
            for one, other in ((node, peer), (peer, node)):
                if one in self.links and one not in self.cut:
                    self._of(one).disconnected(other)

        self.later.append(tell)

    def disown(self, node: str, peer: str, unfit: Unfit) -> None:
        """Tell a peer that a node wants no link with it."""
        self._refused[node, peer] = self._refused[peer, node] = self.deliveries
        if peer in self.links and peer not in self.cut:
            admission = self.links[peer].admission
            if admission is not None:
                admission.disowned(node, unfit)

    def _meet(self, one: str, other: str) -> None:
        """Link two nodes if one of them wants it and neither refuses."""
        last = self._refused.get((one, other))
        if last is not None and self.deliveries - last < KNOCKS_AGAIN_AFTER:
            return
        here, there = self.links[one], self.links[other]
        if (one, other) in self.cards or not (here.wants(other) or there.wants(one)):
            return
        cards = {one: here.card(), other: there.card()}
        for listener, dialler in ((here, there), (there, here)):
            unfit = listener.judge(cards[dialler.node])
            if unfit is not None:
                self.disown(listener.node, dialler.node, unfit)
                return
        self.cards[one, other], self.cards[other, one] = cards[other], cards[one]
        self._of(one).connected(other)
        self._of(other).connected(one)

    def _forget(self, node: str, peer: str) -> None:
        self.cards.pop((node, peer), None)
        self.cards.pop((peer, node), None)

    def _of(self, node: str) -> IPeersObserver:
        observer = self.links[node].observer
        assert observer is not None
        return observer
