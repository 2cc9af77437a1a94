"""Links between nodes that do whatever links can do; provides ``IPeers``.

A *wire* goes one way, from one node to another, and can be cut. A *link* joins two live
processes while both wires between them are whole, as a TCP connection does; each end hears
of its beginning and of its end, at times of its own. What a link does to frames is decided
by the `Mix`:

* *ordered*: as TCP does. Frames arrive in order, each at most once. A cut wire holds them
  back; they go on if it heals before somebody gives the link up, and are lost if not.
* otherwise worse than TCP: frames are lost, repeated and overtaken by others, one by one. The
  core must bear that, too.

Either way no frame outlives its link at the receiver: a hello names the incarnation, so that
what was sent to an earlier life never reaches a later one.

A link is tried while either end wants it. It carries to each end the other's card, as it was when
the link was made; an end to whose admission that is not fit ends the link and says why.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from coord.replicator.interfaces import Card, Unfit
from coord.simulation.world import Process, World
from coord.wire.peer import PROTOCOL

if TYPE_CHECKING:
    from coord.replicator.interfaces import IAdmission, IPeersObserver

Wire = tuple[str, str]
_OPENED: Final = None
KNOCK_SECONDS: Final = 1.0
"""Who was refused, or is not dialled by whom it waits for, tries by itself after so much more."""


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """How bad the network is: rates are probabilities of each frame, times are seconds."""

    ordered: bool = True
    latency_seconds: float = 0.0005
    spread_seconds: float = 0.0005
    spike_rate: float = 0.0
    spike_seconds: float = 0.0
    loss_rate: float = 0.0
    repeat_rate: float = 0.0
    reconnect_seconds: float = 0.1
    notice_seconds: float = 1.0
    """A cut is noticed, if at all, within this long; the end of a peer likewise."""

    @classmethod
    def draw(cls, dice: random.Random) -> Mix:
        """Return what the dice say."""
        ordered = dice.random() < 0.5
        wild = 0.0 if ordered else 1.0
        return cls(
            ordered=ordered,
            latency_seconds=dice.choice((0.0001, 0.0005, 0.002)),
            spread_seconds=dice.choice((0.0001, 0.001, 0.01)),
            spike_rate=dice.choice((0.0, 0.001, 0.01)),
            spike_seconds=dice.choice((0.05, 0.3, 1.0)),
            loss_rate=wild * dice.choice((0.0, 0.01, 0.05)),
            repeat_rate=wild * dice.choice((0.0, 0.01, 0.05)),
            reconnect_seconds=dice.choice((0.05, 0.3)),
            notice_seconds=dice.choice((0.2, 1.0, 3.0)),
        )


class Link:
    """One connection between two processes, as each end sees it."""

    def __init__(self, ends: dict[str, SimulatedPeers]) -> None:
        self.ends = ends
        self.open = dict.fromkeys(ends, False)
        self.over = False
        self.queues: dict[str, deque[bytes | None]] = {name: deque() for name in ends}
        """What is on its way to each end; ``None`` is the news that the link is up."""
        self.last_due = dict.fromkeys(ends, 0.0)
        self.cards = {name: end.card() for name, end in ends.items()}
        """What each end said of itself when the link was made."""

    def other(self, name: str) -> str:
        """Return the name at the other end."""
        first, second = self.ends
        return second if name == first else first


class SimulatedPeers:
    """``IPeers`` for one life of one node."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self.process = process
        self.name = process.machine.name
        self.observer: IPeersObserver | None = None
        self.admission: IAdmission | None = None
        self.links: dict[str, Link] = {}
        """Links that this end believes to be up, by the peer's name."""
        self.wanted: frozenset[str] = frozenset()
        """The nodes that it tries to reach, and never ceases to."""

    def card(self) -> Card:
        """Return what the node says of itself now."""
        if self.admission is None:
            return Card(node=self.name, incarnation=1, protocol=PROTOCOL)
        return msgspec.structs.replace(self.admission.card(), protocol=PROTOCOL)

    def judge(self, card: Card) -> Unfit | None:
        """Return why there is to be no link with a node that shows this card."""
        return None if self.admission is None else self.admission.judge(card)

    def may_link(self, peer: str) -> bool:
        """Say whether a link with ``peer`` would be looked at: strangers are, by an admission."""
        return peer in self.wanted or self.admission is not None

    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told."""
        assert self.observer is None, "observed twice"
        self.observer = observer

    def send(self, peer: str, frame: bytes) -> None:
        """Put a frame on its way; dropped where there is no link."""
        assert peer != self.name, "a node does not send to itself"
        assert isinstance(frame, bytes), "frames are bytes"
        link = self.links.get(peer)
        self._network.carry(self.name, peer, frame, link)

    def flush(self) -> None:
        """Do nothing: frames are on their way as soon as they are sent."""

    def admit_by(self, admission: IAdmission) -> None:
        """Say who decides on links; called once, before ``start``. Else all nodes are fit."""
        self.admission = admission

    def move(self, addresses: Mapping[str, str]) -> None:
        """Have links with these nodes (name: ``host:port``) and no others, from now on."""
        self.wanted, before = frozenset(addresses) - {self.name}, self.wanted
        for peer in sorted(self.links.keys() - self.wanted):
            self._network.end(self.links[peer])
        for peer in sorted(self.wanted - before):
            self._network.dial(self.name, peer)

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link, by name."""
        return {peer: link.cards[peer] for peer, link in self.links.items()}

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close the link with ``peer`` and tell it why; no matter where there is none."""
        link = self.links.get(peer)
        if link is not None:
            self._network.turn_away(link, self.name, unfit)

    def connected(self) -> frozenset[str]:
        """Return the peers to whom there is a link, as far as this end knows."""
        return frozenset(self.links)


class Network:
    """All links; its verbs tell the story: `cut`, `sever`, `isolate`, `heal`, `heal_all`."""

    def __init__(self, world: World, names: tuple[str, ...], mix: Mix) -> None:
        self._world = world
        self._names = self._first = names
        self.mix = mix
        self._cut: set[Wire] = set()
        self._ends: dict[str, SimulatedPeers] = {}
        self._links: dict[Wire, Link] = {}
        self._dialling: set[Wire] = set()

    # -- lives ---------------------------------------------------------------------------
    def add(self, name: str) -> None:
        """Have one more machine, which all others can reach."""
        assert name not in self._names, "a name is a machine's for ever"
        self._names += (name,)

    def remove(self, name: str) -> None:
        """Have a machine no more; its process has crashed, and is never heard of again."""
        self._names = tuple(one for one in self._names if one != name)
        self._ends.pop(name, None)
        self._cut = {wire for wire in self._cut if name not in wire}

    def join(self, process: Process, known: Collection[str] = ()) -> SimulatedPeers:
        """Return the links of a new life of a node; they come up from the next instant on.

        :param known: the nodes that it was told of; those of the first configuration if none.
        """
        peers = SimulatedPeers(self, process)
        peers.wanted = frozenset(known or self._first) - {peers.name}
        self._ends[peers.name] = peers
        for name in self._names:
            if name != peers.name:
                self.dial(peers.name, name)
        return peers

    def crashed(self, name: str) -> None:
        """Note that the node's process is gone; its peers hear of it, sooner or later."""
        for pair, link in list(self._links.items()):
            if name in pair:
                self._end(pair, link)

    def calm(self) -> None:
        """Be a good network from now on."""
        self.mix = Mix()

    # -- verbs -----------------------------------------------------------------------------
    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing through from ``sender`` to ``receiver``."""
        self._cut.add((sender, receiver))
        pair = _pair(sender, receiver)
        link = self._links.get(pair)
        if link is not None:
            delay = self._world.dice.uniform(0.0, 3 * self.mix.notice_seconds)
            self._world.schedule(delay, None, self._give_up, pair, link)

    def sever(self, one: str, other: str) -> None:
        """Cut both ways."""
        self.cut(one, other)
        self.cut(other, one)

    def isolate(self, name: str) -> None:
        """Cut a node off from all others, both ways."""
        for other in self._names:
            if other != name:
                self.sever(name, other)

    def heal(self, one: str, other: str) -> None:
        """Let everything through again, both ways."""
        self._cut.discard((one, other))
        self._cut.discard((other, one))
        pair = _pair(one, other)
        link = self._links.get(pair)
        if link is None:
            self.dial(one, other)
            return
        for receiver in pair:
            for _ in link.queues[receiver]:
                self._plan(link, receiver)

    def heal_all(self) -> None:
        """Mend every wire."""
        for index, one in enumerate(self._names):
            for other in self._names[index + 1 :]:
                self.heal(one, other)

    def cuts(self) -> int:
        """Return how many wires are cut."""
        return len(self._cut)

    def whole(self, one: str, other: str) -> bool:
        """Say whether nothing is cut between two nodes."""
        return (one, other) not in self._cut and (other, one) not in self._cut

    # -- links -----------------------------------------------------------------------------
    def dial(self, one: str, other: str, pause_seconds: float = 0.0) -> None:
        """Try, soon or after a pause, to link two nodes if either wants to."""
        pair = _pair(one, other)
        if pair not in self._dialling:
            self._dialling.add(pair)
            delay = self._world.dice.uniform(0.001, self.mix.reconnect_seconds)
            end = self._ends.get(pair[0])
            if end is not None and pair[1] not in end.wanted:
                pause_seconds = max(pause_seconds, KNOCK_SECONDS)
            self._world.schedule(delay + pause_seconds, None, self._dialled, pair)

    def _dialled(self, pair: Wire) -> None:
        self._dialling.discard(pair)
        ends = {name: self._ends[name] for name in pair if name in self._ends}
        if pair in self._links or len(ends) < 2 or not self.whole(*pair):
            return
        if any(not end.process.alive for end in ends.values()) or not _is_wanted(pair, ends):
            return
        if any(end.process.paused for end in ends.values()):
            self.dial(*pair)
            return
        link = self._links[pair] = Link(ends)
        self._world.count("links made")
        for name in pair:
            self._enqueue(link, name, _OPENED)

    def _give_up(self, pair: Wire, link: Link) -> None:
        if not link.over and not self.whole(*pair):
            self._world.count("links given up")
            self._end(pair, link)

    def end(self, link: Link) -> None:
        """End a link, unless it has ended."""
        if not link.over:
            self._end(_pair(*link.ends), link)

    def turn_away(self, link: Link, name: str, unfit: Unfit) -> None:
        """End a link that one end wants no more, or not at all, and have the other told why."""
        self._world.count("links refused")
        self._world.count(f"links refused: {unfit.why.value}")
        self._world.schedule(0.0, link.ends[name].process, self._closed, link, name)
        peer = link.other(name)
        told = link.ends[peer]
        if (name, peer) not in self._cut and told.admission is not None:
            disowned = told.admission.disowned
            self._world.schedule(self._delay(), told.process, disowned, name, unfit)
        if not link.over:
            self._end(_pair(*link.ends), link, KNOCK_SECONDS)

    def _end(self, pair: Wire, link: Link, pause_seconds: float = 0.0) -> None:
        """End a link: each end that lives hears of it at a time of its own."""
        link.over = True
        del self._links[pair]
        for name, end in link.ends.items():
            delay = self._world.dice.uniform(0.0, self.mix.notice_seconds)
            self._world.schedule(delay, end.process, self._closed, link, name)
        self.dial(*pair, pause_seconds)

    def _closed(self, link: Link, name: str) -> None:
        """Tell one end that the link is no more, unless it has heard."""
        if not link.open[name]:
            return
        link.open[name] = False
        peers, peer = link.ends[name], link.other(name)
        if peers.links.get(peer) is link:
            del peers.links[peer]
            assert peers.observer is not None
            peers.observer.disconnected(peer)

    # -- frames ----------------------------------------------------------------------------
    def carry(self, sender: str, receiver: str, frame: bytes, link: Link | None) -> None:
        """Do to a frame what this network does to frames."""
        world, mix = self._world, self.mix
        world.count("frames sent")
        world.note(frame)
        if link is None or link.over:
            world.count("frames lost with a link")
        elif mix.ordered:
            self._enqueue(link, receiver, frame)
        elif (sender, receiver) in self._cut:
            world.count("frames lost to a cut")
        elif world.chance(mix.loss_rate):
            world.count("frames lost")
        else:
            self._throw(link, receiver, frame)
            if world.chance(mix.repeat_rate):
                world.count("frames repeated")
                self._throw(link, receiver, frame)

    def _delay(self) -> float:
        dice, mix = self._world.dice, self.mix
        delay = mix.latency_seconds + dice.random() * mix.spread_seconds
        if mix.spike_rate and dice.random() < mix.spike_rate:
            delay += dice.random() * mix.spike_seconds
            self._world.count("frames delayed long")
        return delay

    def _throw(self, link: Link, receiver: str, frame: bytes) -> None:
        process = link.ends[receiver].process
        self._world.schedule(self._delay(), process, self._arrive, link, receiver, frame)

    def _enqueue(self, link: Link, receiver: str, frame: bytes | None) -> None:
        link.queues[receiver].append(frame)
        self._plan(link, receiver)

    def _plan(self, link: Link, receiver: str) -> None:
        now = self._world.now
        due = max(link.last_due[receiver], now + self._delay())
        link.last_due[receiver] = due
        process = link.ends[receiver].process
        self._world.schedule(due - now, process, self._deliver_next, link, receiver)

    def _deliver_next(self, link: Link, receiver: str) -> None:
        """Hand on whatever is first in the queue, so that order is kept whatever the dice say."""
        queue = link.queues[receiver]
        if not queue or (link.other(receiver), receiver) in self._cut:
            return  # what stands in the queue of a cut wire waits for `heal`
        frame = queue.popleft()
        if frame is None:
            self._opened(link, receiver)
        else:
            self._arrive(link, receiver, frame)

    def _opened(self, link: Link, name: str) -> None:
        if link.over:
            return  # it ended before this end had heard of it
        peers, peer = link.ends[name], link.other(name)
        unfit = peers.judge(link.cards[peer])
        if unfit is not None:
            self.turn_away(link, name, unfit)
            return
        older = peers.links.get(peer)
        if older is not None:
            self._closed(older, name)
        link.open[name] = True
        peers.links[peer] = link
        assert peers.observer is not None
        peers.observer.connected(peer)

    def _arrive(self, link: Link, receiver: str, frame: bytes) -> None:
        if not link.open[receiver]:
            self._world.count("frames lost with a link")
            return
        self._world.count("frames arrived")
        observer = link.ends[receiver].observer
        assert observer is not None
        try:
            observer.received(link.other(receiver), frame)
        except ValueError:
            self._world.count("frames refused")
            pair = _pair(*link.ends)
            if self._links.get(pair) is link:
                self._end(pair, link)


def _pair(one: str, other: str) -> Wire:
    return (one, other) if one < other else (other, one)


def _is_wanted(pair: Wire, ends: Mapping[str, SimulatedPeers]) -> bool:
    """Say whether one of two nodes wants a link, and the other would look at it."""
    one, other = pair
    wants = other in ends[one].wanted or one in ends[other].wanted
    return wants and ends[one].may_link(other) and ends[other].may_link(one)
