"""All links of one node: provides ``IPeers`` over mutual TLS.

Each pair of nodes has one link. The node whose name sorts first dials it and the other
listens, so that two never dial each other at the same time and no rule is needed to choose
between two links. Where the dialler comes again while its old link still seems to be up (it
restarted, or only its side noticed that the network broke), the new link takes the old one's
place, unless it is of an earlier life.

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
from coord.names import valid_node_name
from coord.peers.admission import check_hello, check_place, dials
from coord.peers.dialler import Dialler, Dialling, make_dialler
from coord.peers.identity import Credentials, CredentialsError, Identity
from coord.peers.link import Bounds, Link, Traffic
from coord.peers.refusals import Complaints, Refused, unreachable
from coord.replicator.interfaces import Card, IAdmission, IPeersObserver, Unfit
from coord.wire.peer import PROTOCOL, Hello

SILENT_ROUNDS = 5
"""A link is looked at so often within the time for which it may be silent."""


@attrs.define
class Peer:
    """One of the other nodes: its address, and its link where there is one."""

    name: str
    address: str
    link: Link | None = None
    dialler: Dialler | None = None
    traffic: Traffic = attrs.field(factory=Traffic)

    def describe(self) -> str:
        """Return one dense line: who, how, since which life of it, and how much went over."""
        how = "dialled" if self.dialler else "awaited"
        link, traffic = self.link, self.traffic
        state = f"up i={link.incarnation} queue={link.queued_bytes}B" if link else "down"
        return (
            f"{self.name} {how} {self.address} {state} links={traffic.links}"
            f" in={traffic.frames_in}/{traffic.bytes_in}B"
            f" out={traffic.frames_out}/{traffic.bytes_out}B dropped={traffic.dropped}"
        )


class Transport:
    """The links of ``node`` to its ``peers`` (name: ``host:port``); its own name is left out.

    ``incarnation`` counts the node's lives. ``listen`` is where the peers reach this node;
    ``credentials`` are needed as soon as there are peers. ``endpoint`` makes an endpoint of
    a peer's address; tests give their own.

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
    ) -> None:
        self.node = node
        self._reactor = reactor
        self._cluster = cluster
        self._incarnation = incarnation
        self._bounds = bounds or Bounds()
        self._dice = dice
        self._endpoint = endpoint or self._host_endpoint
        self._listen = serverFromString(reactor, listen) if isinstance(listen, str) else listen
        self._peers = {
            name: Peer(name, address) for name, address in sorted(peers.items()) if name != node
        }
        self._identity = self._load(credentials)
        self._complaints = Complaints(reactor.seconds)
        self._observer: IPeersObserver | None = None
        self._admission: IAdmission | None = None
        self._port: IListeningPort | None = None
        self._connections: dict[Link, None] = {}
        self._unflushed: dict[Link, None] = {}
        self._flush_due = False
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

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link, by name."""
        return {}

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close the link with ``peer`` and tell it why; no matter where there is none."""

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
            if peer.dialler is not None:
                peer.dialler.stop()
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
        return [peer.describe() for peer in self._peers.values()]

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
        for peer in self._peers.values():
            if dials(self.node, peer.name):
                peer.dialler = self._dialler(peer)
                peer.dialler.start()

    def _dialler(self, peer: Peer) -> Dialler:
        endpoint = self._endpoint(peer.address)
        factory = self._tls(peer.name)

        def connect() -> Deferred[IProtocol]:
            attempt: Deferred[IProtocol] = endpoint.connect(factory)
            return attempt

        def complain(failure: Failure) -> None:
            if self._stopped is None:
                self._complaints.about(peer.name, peer.address, unreachable(failure))

        return make_dialler(
            Dialling(
                clock=self._reactor,
                dice=self._dice,
                bounds=self._bounds,
                connect=connect,
                unreachable=complain,
            )
        )

    def _host_endpoint(self, address: str) -> IStreamClientEndpoint:
        host, _, port = address.rpartition(":")
        return HostnameEndpoint(
            self._reactor, host.strip("[]"), int(port), timeout=self._bounds.dial_seconds
        )

    def _tls(self, expected: str | None) -> TLSMemoryBIOFactory:
        """Return what makes links: ``expected`` is who is dialled, ``None`` for listening."""
        assert self._identity is not None, "there are peers, so there are credentials"
        factory = TLSMemoryBIOFactory(
            self._identity, expected is not None, PeerLinks(self, expected), self._reactor
        )
        factory.protocol = TLSMemoryBIOProtocol
        return factory

    def make_link(self, expected: str | None) -> Link | None:
        """Return a link for a connection that was just made; ``None`` once stopped."""
        if self._stopped is not None:
            return None
        if expected is None:
            strangers = [
                link for link in self._connections if link.peer is None and not link.parting
            ]
            if len(strangers) >= limits.GREETINGS_MAX:
                strangers[0].abandon(Refused("too many connections without a Hello", "look there"))
        link = Link(self, self._reactor, self._bounds, expected)
        self._connections[link] = None
        return link

    # -- Parties: what links tell ------------------------------------------------------------
    def greeting(self, to: str) -> Hello:
        """Return this node's Hello."""
        return Hello(PROTOCOL, self._cluster, self.node, to, self._incarnation)

    def admit(self, link: Link, hello: Hello) -> Traffic:
        """Hold a Hello against what this node knows; raises `Refused`."""
        peer = self._peers.get(hello.node)
        newest = peer.link.incarnation if peer is not None and peer.link is not None else 0
        check_hello(self.greeting(hello.node), hello)
        check_place(
            self.node,
            hello,
            dialled=link.expected is not None,
            known=peer is not None,
            newest=newest,
        )
        assert peer is not None, "it is known"
        return peer.traffic

    def up(self, link: Link) -> None:
        """Use a link from now on, in the place of an older one."""
        assert link.peer is not None, "its Hello was verified"
        peer = self._peers[link.peer]
        if peer.link is not None:
            older = peer.link
            self._down(peer)
            older.abandon(Refused("a newer connection takes its place", "nothing to do"))
        peer.link = link
        peer.traffic.links += 1
        if peer.dialler is not None:
            peer.dialler.up()
        self._complaints.forget(peer.name)
        self._log.info(
            "linked with {peer} ({where}), life {incarnation} of it",
            peer=peer.name,
            where=link.where,
            incarnation=link.incarnation,
        )
        if self._observer is not None:
            self._observer.connected(peer.name)

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
        peer = self._peers.get(link.expected or link.peer or "")
        if peer is None:
            return
        if peer.link is link:
            self._down(peer)
        if link.expected is not None and peer.dialler is not None:
            peer.dialler.lost()

    # -- turns and rounds --------------------------------------------------------------------
    def _down(self, peer: Peer) -> None:
        peer.link = None
        if self._observer is not None:
            self._observer.disconnected(peer.name)

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

    def __init__(self, transport: Transport, expected: str | None) -> None:
        self._transport = transport
        self._expected = expected

    def buildProtocol(self, address: IAddress | None) -> Link | None:
        """Return the link that a connection was made for; ``None`` closes it."""
        return self._transport.make_link(self._expected)
