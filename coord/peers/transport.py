"""All links of one node: provides ``IPeers`` over mutual TLS.

Each pair of nodes has one link. The node whose name sorts first dials it and the other
listens, and dials only where it has waited in vain (`coord.peers.peer`). Of two links the one
that was dialled by the first-named stays, at both ends. Where the same node dials again while its
old link still seems to be up (it restarted, or only its side noticed that the network broke), the
new link takes the old one's place, unless it is of an earlier life.

Which nodes get links is said by `Transport.move`, and by who judges their cards
(`coord.replicator.interfaces.IAdmission`): a node that is fit though nobody named it is a guest.

All frames sent to a peer in one turn of the reactor leave in one write: at the end of the
turn, or earlier when `Transport.flush` is called. TLS is Twisted's plain
``TLSMemoryBIOProtocol``: its buffering sibling would wait for one more turn to join small
writes, which are joined already.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from coord import limits
from coord.names import split_address, valid_address, valid_node_name
from coord.peers.admission import (
    Versions,
    card_of,
    check_hello,
    check_life,
    dials,
    not_a_peer,
    unwanted,
)
from coord.peers.dialler import Dialler, Dialling, make_dialler
from coord.peers.identity import Credentials, CredentialsError, Identity
from coord.peers.link import Bounds, Link, Traffic, Welcome
from coord.peers.peer import Approach, Peer
from coord.peers.refusals import SPARE, Complaints, Refused, unreachable
from coord.replicator.interfaces import Card, IAdmission, IPeersObserver, Unfit
from coord.wire.peer import CARDS_SINCE, Hello

SILENT_ROUNDS = 5
"""A link is looked at so often within the time for which it may be silent."""


class Transport:
    """The links of ``node`` to its ``peers`` (name: ``host:port``); its own name is left out.

    ``incarnation`` counts the node's lives. ``listen`` is where the peers reach this node;
    ``credentials`` are needed as soon as there are peers. ``endpoint`` makes an endpoint of
    a peer's address, and ``versions`` are what this release speaks; tests give their own.

    :raises CredentialsError: where the credentials do not fit, with one line that says
        what to do; nothing was opened.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        node: str,
        cluster: str,
        incarnation: int,
        peers: Mapping[str, str],
        listen: IStreamServerEndpoint | str | None,
        credentials: Credentials | None,
        dice: random.Random,
        bounds: Bounds | None = None,
        endpoint: Callable[[str], IStreamClientEndpoint] | None = None,
        versions: Versions | None = None,
    ) -> None:
        self.node = node
        self._reactor = reactor
        self._cluster = cluster
        self._incarnation = incarnation
        self._bounds = bounds or Bounds()
        self._dice = dice
        self._endpoint = endpoint or self._host_endpoint
        self._listen = serverFromString(reactor, listen) if isinstance(listen, str) else listen
        self._versions = versions or Versions()
        self._peers: dict[str, Peer] = {}
        self._name_peers(peers)
        self._identity = self._load(credentials)
        self._complaints = Complaints(reactor.seconds)
        self._observer: IPeersObserver | None = None
        self._admission: IAdmission | None = None
        self._port: IListeningPort | None = None
        self._connections: dict[Link, None] = {}
        self._unflushed: dict[Link, None] = {}
        self._flush_due = False
        self._parted: list[str] = []
        self._is_started = False
        self._round: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    # -- IPeers ----------------------------------------------------------------------------
    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told; called once, before `start`."""
        assert self._observer is None, "observed twice"
        self._observer = observer

    def admit_by(self, admission: IAdmission) -> None:
        """Say who decides on links; called once, before `start`. Else all nodes are fit."""
        self._admission = admission

    def move(self, addresses: Mapping[str, str]) -> None:
        """Have links with these nodes (name: ``host:port``) and no others, from now on."""
        for name in [name for name in self._peers if name not in addresses]:
            peer = self._peers.pop(name)
            peer.approach.stop()
            alone = f"{self.node} takes part no more"
            gone = f"{name} is no member any more" if addresses else alone
            self._dismiss(peer, Refused(gone, f"so {self.node} knows"))
        self._name_peers(addresses)
        if self._is_started and self._stopped is None:
            for peer in self._peers.values():
                if peer.link is None:
                    peer.approach.seek()

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link, by name."""
        linked = ((name, peer.link) for name, peer in self._peers.items() if peer.link)
        return {name: link.card for name, link in linked if link.card}

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close the link with ``peer`` and tell it why; no matter where there is none."""
        if peer in self._peers:
            self._dismiss(self._peers[peer], unwanted(unfit))
            self._peers[peer].approach.lost()

    def send(self, peer: str, frame: bytes) -> None:
        """Queue a frame; dropped where there is no link or too much is queued."""
        known = self._peers.get(peer)
        if known is None or (link := known.link) is None:
            return
        link.send(frame)
        self._unflushed[link] = None
        if not self._flush_due:
            self._flush_due = True
            self._reactor.callLater(0, self._flush_turn)

    def connected(self) -> frozenset[str]:
        """Return the peers to whom there is a link."""
        return frozenset(name for name, peer in self._peers.items() if peer.link)

    # -- life ------------------------------------------------------------------------------
    def start(self) -> Deferred[None]:
        """Listen, then dial; fires once this node can be reached.

        Fails with ``CannotListenError`` where the port is taken; nothing was dialled then.
        """
        assert self._observer is not None, "observe() comes first"
        if self._listen is None or self._identity is None:
            listening: Deferred[None] = succeed(None)
        else:
            listening = self._listen.listen(self._tls(None)).addCallback(self._listening)
        return listening.addCallback(self._dial_all)

    def stop(self) -> Deferred[None]:
        """Send what is queued, close all links, dial and listen no more; fires when done.

        The observer hears nothing any more. Called once.
        """
        self._stopped = Deferred()
        if self._round is not None:
            self._round.cancel()
        for peer in self._peers.values():
            peer.link = None
            peer.approach.stop()
        for link in list(self._connections):
            link.finish()
        port, self._port = self._port, None
        closing = port.stopListening() if port is not None else None
        self._check_stopped()
        all_closed = self._stopped
        if closing is None:
            return all_closed
        return closing.addCallback(lambda _: all_closed)

    def flush(self) -> None:
        """Write now what was queued in this turn so far."""
        links, self._unflushed = self._unflushed, {}
        for link in links:
            link.flush()

    # -- for people ------------------------------------------------------------------------
    def describe(self) -> list[str]:
        """Return one line for each peer, by name."""
        return [
            peer.describe("dialled" if dials(self.node, peer.name) else "awaited")
            for _, peer in sorted(self._peers.items())
        ]

    def traffic(self) -> dict[str, Traffic]:
        """Return what went to and from each peer so far."""
        return {name: attrs.evolve(peer.traffic) for name, peer in self._peers.items()}

    def _load(self, credentials: Credentials | None) -> Identity | None:
        """Load the credentials where they are needed; see that links are possible at all."""
        if not self._peers and self._listen is None:
            return None
        if credentials is None:
            raise CredentialsError("peers want --ca, --certificate and --key: see coord init")
        for name in self._peers:
            if not valid_node_name(name):
                raise CredentialsError(f"the peer {name!r} cannot have a certificate of that name")
            if self._listen is None and not dials(self.node, name):
                raise CredentialsError(f"{name} dials {self.node}: give --peer-listen")
        return Identity.load(credentials, self.node)

    # -- opening ---------------------------------------------------------------------------
    def _listening(self, port: IListeningPort) -> None:
        self._port = port

    def _dial_all(self, _: None) -> None:
        seconds = self._bounds.silence_seconds / SILENT_ROUNDS
        self._round = self._reactor.callLater(seconds, self._check_links)
        self._is_started = True
        if self._identity is not None:
            for peer in self._peers.values():
                peer.approach.seek()

    def _name_peers(self, addresses: Mapping[str, str]) -> None:
        """Know the nodes of these addresses; dial them there from now on."""
        for name, address in sorted(addresses.items()):
            if name == self.node:
                continue
            peer = self._peers.get(name)
            if peer is None:
                self._peers[name] = self._make_peer(name, address)
            elif peer.address != address:
                peer.address = address
                peer.approach.stop()
            self._peers[name].is_guest = False

    def _make_peer(self, name: str, address: str) -> Peer:
        late_seconds = None if dials(self.node, name) else limits.LATE_DIAL_SECONDS
        approach = Approach(self._reactor, lambda: self._dialler(peer), late_seconds)
        peer = Peer(name, address, approach)
        return peer

    def _dialler(self, peer: Peer) -> Dialler | None:
        """Return what dials a peer, ``None`` where that makes no sense, as things are."""
        is_late = not dials(self.node, peer.name)
        if is_late and 0 < peer.version < CARDS_SINCE:
            return None  # it would refuse us: nodes of then know one direction only
        if self._identity is None or not valid_address(peer.address):
            return None
        endpoint = self._endpoint(peer.address)

        def connect() -> Deferred[IProtocol]:
            attempt: Deferred[IProtocol] = endpoint.connect(factory)
            return attempt

        def complain(failure: Failure) -> None:
            if self._stopped is None:
                self._complaints.about(peer.name, peer.address, unreachable(failure))

        dialler = make_dialler(
            Dialling(
                clock=self._reactor,
                dice=self._dice,
                bounds=self._bounds,
                connect=connect,
                unreachable=complain,
            )
        )
        factory = self._tls(peer.name, dialler)
        return dialler

    def _host_endpoint(self, address: str) -> IStreamClientEndpoint:
        host, port = split_address(address)
        return HostnameEndpoint(self._reactor, host, port, timeout=self._bounds.dial_seconds)

    def _tls(self, expected: str | None, dialler: Dialler | None = None) -> TLSMemoryBIOFactory:
        """Return what makes links: ``expected`` is who is dialled, ``None`` for listening."""
        assert self._identity is not None, "there are peers, so there are credentials"
        factory = TLSMemoryBIOFactory(
            self._identity, expected is not None, PeerLinks(self, expected, dialler), self._reactor
        )
        factory.protocol = TLSMemoryBIOProtocol
        return factory

    def make_link(self, expected: str | None, dialler: Dialler | None) -> Link | None:
        """Return a link for a connection that was just made; ``None`` once stopped."""
        if self._stopped is not None:
            return None
        if expected is None:
            strangers = [
                link for link in self._connections if link.peer is None and not link.parting
            ]
            if len(strangers) >= limits.GREETINGS_MAX:
                strangers[0].abandon(Refused("too many connections without a Hello", "look there"))
        link = Link(self, self._reactor, self._bounds, expected, dialler)
        self._connections[link] = None
        return link

    # -- Parties: what links tell ------------------------------------------------------------
    def greeting(self, to: str) -> Hello:
        """Return this node's Hello."""
        card = self._admission.card() if self._admission else Card(node="", incarnation=0)
        return Hello(
            self._versions.oldest,
            self._cluster,
            self.node,
            to,
            self._incarnation,
            self._versions.newest,
            card.disk,
            card.address,
            card.promised,
            card.reach,
            card.slot,
            card.is_observer,
            card.founding,
        )

    def admit(self, link: Link, hello: Hello) -> Welcome:
        """Hold a Hello against what this node knows; raises `Refused`."""
        peer = self._peers.get(hello.node)
        card = card_of(hello, check_hello(self.greeting(hello.node), hello))
        if self._admission is None:
            if peer is None:
                raise not_a_peer(self.node, hello.node)
        elif unfit := self._admission.judge(card):
            raise unwanted(unfit)  # it may be dialled still, and judge this node in its turn
        if peer is not None and link.expected is None:
            peer.approach.dialled()
        if peer is None:
            peer = self._peers[hello.node] = self._make_peer(hello.node, card.address)
            peer.is_guest = True
        self._check_place(peer, link, hello.incarnation)
        return Welcome(card, peer.traffic)

    def _check_place(self, peer: Peer, link: Link, incarnation: int) -> None:
        """Raise `Refused` where the link that there is has to stay."""
        if peer.link is None:
            return
        check_life(peer.name, incarnation, peer.link.incarnation)
        ours = dials(self.node, peer.name)
        is_late, was_late = ((one.expected is not None) != ours for one in (link, peer.link))
        if is_late and not was_late and incarnation == peer.link.incarnation:
            raise SPARE

    def up(self, link: Link) -> None:
        """Use a link from now on, in the place of an older one."""
        assert link.peer is not None, "its Hello was verified"
        assert link.card is not None, "it was admitted"
        peer = self._peers.get(link.peer)
        if peer is None:
            raise not_a_peer(self.node, link.peer)
        self._check_place(peer, link, link.incarnation)
        self._tell_parted()
        if peer.link is not None:
            older = peer.link
            self._down(peer)
            crossed = (older.expected is None) != (link.expected is None)
            if crossed and older.incarnation == link.incarnation:
                older.refuse(SPARE)  # both dialled, and it lives
            else:
                older.abandon(Refused("a newer connection takes its place", "nothing to do"))
        peer.link, peer.version = link, link.card.protocol
        peer.traffic.links += 1
        peer.approach.found(link.dialler)
        self._complaints.forget(peer.name)
        self._log.info(
            "linked with {peer} ({where}), life {incarnation} of it, version {version}",
            peer=peer.name,
            where=link.where,
            incarnation=link.incarnation,
            version=peer.version,
        )
        if self._observer is not None:
            self._observer.connected(peer.name)

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Tell who decides on links that another node does not want this one."""
        if self._admission is not None and self._stopped is None:
            self._admission.disowned(peer, unfit)

    def received(self, link: Link, frame: bytes) -> None:
        """Hand a frame on; raises `ValueError` where it is none of a peer's."""
        if self._stopped is None:
            assert link.peer is not None
            assert self._observer is not None
            self._observer.received(link.peer, frame)

    def full(self, link: Link) -> None:
        """Say that frames are being dropped."""
        self._log.warn(
            "{peer} takes nothing: {queued} bytes wait for it, more is dropped;"
            " it hangs, or the network is too slow",
            peer=link.peer,
            queued=link.queued_bytes,
        )

    def drained(self, link: Link, dropped: int) -> None:
        """Say that frames are no longer being dropped."""
        self._log.info(
            "{peer} takes all again; {dropped} frames were dropped",
            peer=link.peer,
            dropped=dropped,
        )

    def closed(self, link: Link, why: Refused) -> None:
        """Forget a connection, and dial again where this node is the one to dial."""
        del self._connections[link]
        self._unflushed.pop(link, None)
        if self._stopped is not None:
            self._check_stopped()
            return
        who = link.proven or link.expected or link.where.rpartition(":")[0]
        self._complaints.about(who, link.where, why, was_up=link.peer is not None)
        if link.dialler is not None:
            link.dialler.lost()
        peer = self._peers.get(link.proven or "")
        if peer is not None and peer.link is link:
            self._down(peer)
            peer.approach.lost()
        if peer is not None and peer.is_guest and peer.link is None:
            peer.approach.stop()
            del self._peers[peer.name]

    # -- turns and rounds --------------------------------------------------------------------
    def _down(self, peer: Peer) -> None:
        peer.link = None
        if self._observer is not None:
            self._observer.disconnected(peer.name)

    def _dismiss(self, peer: Peer, why: Refused) -> None:
        """Close the link with a peer, after what is queued; its end is told in the next turn."""
        link, peer.link = peer.link, None
        if link is not None:
            link.dismiss(why)
            self._parted.append(peer.name)
            self._reactor.callLater(0, self._tell_parted)

    def _tell_parted(self) -> None:
        """Tell of links that this node closed by itself, before anything later is told."""
        parted, self._parted = self._parted, []
        for name in parted:
            if self._observer is not None and self._stopped is None:
                self._observer.disconnected(name)

    def _flush_turn(self) -> None:
        self._flush_due = False
        self.flush()

    def _check_links(self) -> None:
        """Close links on which nothing comes, and speak on those where nothing is said."""
        seconds = self._bounds.silence_seconds / SILENT_ROUNDS
        self._round = self._reactor.callLater(seconds, self._check_links)
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.check(SILENT_ROUNDS)

    def _check_stopped(self) -> None:
        stopped = self._stopped
        if stopped is not None and not self._connections and not stopped.called:
            stopped.callback(None)


class PeerLinks(Factory):
    """Makes the links of a transport, for `TLSMemoryBIOFactory`."""

    noisy = False

    def __init__(self, transport: Transport, expected: str | None, dialler: Dialler | None) -> None:
        self._transport = transport
        self._expected = expected
        self._dialler = dialler

    def buildProtocol(self, address: IAddress | None) -> Link | None:
        """Return the link that a connection was made for; ``None`` closes it."""
        return self._transport.make_link(self._expected, self._dialler)
