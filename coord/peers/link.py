"""One connection between two nodes: its Hellos, then frames, until one end closes it.

::

    dialler                            listener
       | ---- TLS handshake, mutual ---- |     both certificates are of the CA
       | the listener's is of the peer   |
       | that was wanted                 |
       | ------------ Hello -----------> |     the name in it is the dialler's; the cluster,
       |                                 |     the version, the node itself: `Parties.admit`
       | <----------- Hello ------------ |
       | the same; the link is up here   |
       | -------- an empty frame ------> |     the link is up here
       | <========== frames ===========> |
       | <- an empty frame, now and then |     so that silence means trouble

So neither end hears of a link that the other one refuses. A dialler of a version before 5 says
nothing after its Hello: its link is up with the listener's.

Whoever finds a fault says so in a `Refusal` and closes. Certificates are TLS's own matter:
its alerts say it.

What is sent waits in a queue of its own while the transport takes no more (it pauses us at
64 KiB not yet taken by the kernel), so that what waits for a stopped peer is bounded here
and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

import attrs
from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from coord import limits
from coord.peers.identity import is_peer, names_of
from coord.peers.refusals import ONE_RELEASE, TEXT_LENGTH_MAX, Refused, explain
from coord.replicator.interfaces import Card, Unfit, Why
from coord.wire import peer as wire
from coord.wire.framing import LENGTH_BYTES, Splitter, pack_length
from coord.wire.peer import CARDS_SINCE, Hello, Refusal

if TYPE_CHECKING:
    from coord.peers.dialler import Dialler

_WHYS: Final = frozenset(why.value for why in Why)
_STOPPING: Final = Refused("this node stops", "nothing to do")


@attrs.frozen(kw_only=True)
class Bounds:
    """How long and how much; the defaults and their reasons are in `coord.limits`."""

    dial_seconds: float = limits.DIAL_SECONDS
    greeting_seconds: float = limits.GREETING_SECONDS
    redial_seconds_min: float = limits.REDIAL_SECONDS_MIN
    redial_seconds_max: float = limits.REDIAL_SECONDS_MAX
    silence_seconds: float = limits.SILENCE_SECONDS
    parting_seconds: float = limits.PARTING_SECONDS
    frame_bytes_max: int = limits.FRAME_BYTES_MAX
    queue_bytes_max: int = limits.PEER_QUEUE_BYTES_MAX


@attrs.define
class Traffic:
    """What went over the links with one peer, in all their lives together.

    Frames are messages; bytes are those of all frames, lengths included, TLS not.
    ``dropped`` counts messages that found the queue full, ``links`` how often a link came up.
    """

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    dropped: int = 0
    links: int = 0


@attrs.frozen
class Welcome:
    """What comes of a Hello: who that is, and where to count what goes over its link."""

    card: Card
    traffic: Traffic


class Parties(Interface):
    """Who owns the links of a node."""

    def greeting(self, to: str) -> Hello:
        """Return what this node says first to the peer called ``to``."""

    def admit(self, link: Link, hello: Hello) -> Welcome:
        """Take a link whose other end proved to be ``hello.node``; raises `Refused`."""

    def up(self, link: Link) -> None:
        """Frames can be sent from now on; raises `Refused` where there is no place any more."""

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Hear that ``peer``, which is surely that, does not want this node, and why."""

    def received(self, link: Link, frame: bytes) -> None:
        """Take a frame; raises `ValueError` where it is none of a peer's."""

    def full(self, link: Link) -> None:
        """Hear that the queue is full: frames are dropped from now on."""

    def drained(self, link: Link, dropped: int) -> None:
        """Hear that the queue is empty again, and how many frames were dropped."""

    def closed(self, link: Link, why: Refused) -> None:
        """Hear that the connection is gone; told once, whether it was ever up or not."""


@implementer(IProtocol, IHandshakeListener, IPushProducer)
class Link(Protocol):
    """One end of one connection; ``expected`` is the peer that was dialled, or ``None``.

    ``proven`` is who the other end's certificate and Hello say it is, ``None`` until then;
    ``card`` is what it said of itself, from when it was admitted; ``peer`` is its name from when
    frames can be sent. ``dialler`` is whose attempt the connection was, where this node dialled.
    """

    transport: TLSMemoryBIOProtocol

    def __init__(
        self,
        parties: Parties,
        clock: IReactorTime,
        bounds: Bounds,
        expected: str | None,
        dialler: Dialler | None = None,
    ) -> None:
        self.expected = expected
        self.dialler = dialler
        self.card: Card | None = None
        self.proven: str | None = None
        self.peer: str | None = None
        self.incarnation = 0
        self.where = ""
        self.queued_bytes = 0
        self.traffic = Traffic()
        self._parties = parties
        self._clock = clock
        self._bounds = bounds
        self._splitter = Splitter(limits.HELLO_BYTES_MAX)
        self._verdict: int | None = None
        self._certified: str | None = None
        self._why: Refused | None = None
        self._deadline: IDelayedCall | None = None
        self._queue: list[bytes] = []
        self._under_way_bytes = 0
        self._paused = False
        self._dropped = 0
        self._heard = False
        self._spoke = False
        self._silent_rounds = 0

    # -- from nothing to a link ----------------------------------------------------------
    def connectionMade(self) -> None:
        """Begin with the handshake, of which TLS takes care."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        address = self.transport.getPeer()
        host, port = getattr(address, "host", "?"), getattr(address, "port", "?")
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._deadline = self._clock.callLater(self._bounds.greeting_seconds, self._late)

    def distrusted(self, verdict: int) -> None:
        """Note what OpenSSL found wrong with the other's certificate."""
        self._verdict = verdict

    def handshakeCompleted(self) -> None:
        """Dialled: see whether it is who we wanted to reach, and say Hello."""
        if self.expected is None:
            return
        if not is_peer(self._tls(), self.expected):
            self.refuse(self._impostor(self.expected))
        else:
            self._certified = self.expected
            self._say(wire.encode(self._parties.greeting(self.expected)))

    def _begin(self, frame: bytes) -> None:
        """Take a frame that comes before the link is up."""
        try:
            if self.card is None:
                self._greeted(frame)
            elif wire.is_refusal(frame):
                self._refused(frame)
            else:
                self._up()
                if frame:
                    self._take(frame)
        except Refused as refused:
            self.refuse(refused)

    def _greeted(self, frame: bytes) -> None:
        """Take the first frame."""
        if wire.is_refusal(frame):
            self._refused(frame)
            return
        try:
            greeting = wire.decode_greeting(frame)
        except ValueError:
            raise Refused("its first words were no Hello", ONE_RELEASE) from None
        assert isinstance(greeting, Hello), "it is no Refusal"
        self._meet(greeting)

    def _meet(self, hello: Hello) -> None:
        """Verify the other end's Hello, answer it where that is still to be done."""
        if self.expected not in (None, hello.node) or not is_peer(self._tls(), hello.node):
            raise self._impostor(hello.node)
        self.proven = self._certified = hello.node
        self.incarnation = hello.incarnation
        welcome = self._parties.admit(self, hello)
        early, self.traffic = self.traffic, welcome.traffic
        self.traffic.bytes_in += early.bytes_in
        self.traffic.bytes_out += early.bytes_out
        self.card = welcome.card
        self._splitter.frame_bytes_max = self._bounds.frame_bytes_max
        self._say(wire.encode(self._parties.greeting(hello.node)) if self.expected is None else b"")
        if self.expected is not None or self.card.protocol < CARDS_SINCE:
            self._up()

    def _up(self) -> None:
        """Be a link from now on."""
        assert self._deadline is not None
        self._deadline.cancel()
        self.peer = self.proven
        self.transport.registerProducer(self, True)
        try:
            self._parties.up(self)
        except Refused:
            self.peer = None
            raise

    def _impostor(self, name: str) -> Refused:
        names = names_of(self._tls()) or "nobody"
        return Refused(
            f"the certificate there is of {names}, not of {name}",
            "correct the address of the peer, or give that node its own certificate",
        )

    def _tls(self) -> SSL.Connection:
        handle: SSL.Connection = self.transport.getHandle()
        return handle

    # -- receiving -------------------------------------------------------------------------
    def dataReceived(self, data: bytes) -> None:
        """Cut what arrived into frames and take them, until one is wrong."""
        self._heard = True
        self.traffic.bytes_in += len(data)
        try:
            frames = self._splitter.feed(data)
        except ValueError as error:
            self.refuse(Refused(f"it sent {error}", ONE_RELEASE))
            return
        for frame in frames:
            if self._why is not None:
                return
            if self.peer is None:
                self._begin(frame)
            elif frame:
                self._take(frame)

    def _take(self, frame: bytes) -> None:
        """Hand on a frame of a link that is up."""
        if wire.is_refusal(frame):
            self._refused(frame)
            return
        self.traffic.frames_in += 1
        try:
            self._parties.received(self, frame)
        except ValueError as error:
            self.refuse(Refused(f"it sent what is no message ({error})", ONE_RELEASE))

    # -- sending ---------------------------------------------------------------------------
    def send(self, frame: bytes) -> None:
        """Queue a frame until `flush`; drop it where too much waits already."""
        size_bytes = LENGTH_BYTES + len(frame)
        waiting_bytes = self.queued_bytes + self._under_way_bytes + size_bytes
        if waiting_bytes > self._bounds.queue_bytes_max:
            self._drop()
            return
        self.queued_bytes += size_bytes
        self._queue += (pack_length(len(frame)), frame)
        self.traffic.frames_out += 1

    def _drop(self) -> None:
        self.traffic.dropped += 1
        self._dropped += 1
        if self._dropped == 1:
            self._parties.full(self)

    def flush(self) -> None:
        """Write what is queued, in one write where it is not much, while it is taken."""
        while self._queue and not self._paused:
            content = self._joined()
            size_bytes = len(content)
            self._spoke = True
            self.queued_bytes -= size_bytes
            self.traffic.bytes_out += size_bytes
            self.transport.write(content)
            if self._paused:
                self._under_way_bytes = size_bytes  # the reactor pushes it, others have their turn
            else:
                self._push()
        if self._dropped and not self._queue:
            dropped, self._dropped = self._dropped, 0
            self._parties.drained(self, dropped)

    def _push(self) -> None:
        """Hand what was written to the kernel now, not when the reactor next looks who can write.

        That saves a turn of the reactor and two system calls on every hop of a write. Should the
        connection be lost, reading will tell. One that is being closed, as the other end wants it,
        is left to the reactor: its last write returns that it is closed, and nobody reads it then.
        """
        connection = getattr(self.transport, "transport", None)  # below TLS
        if isinstance(connection, FileDescriptor) and not (
            connection.disconnected or connection.disconnecting
        ):
            connection.doWrite()

    def _joined(self) -> bytes:
        """Take the frames of one write off the queue."""
        parts = self._queue
        if self.queued_bytes <= limits.PEER_WRITE_BYTES_SOFT:
            self._queue = []
            return b"".join(parts)
        count = size_bytes = 0
        while size_bytes < limits.PEER_WRITE_BYTES_SOFT and count < len(parts):
            size_bytes += len(parts[count]) + len(parts[count + 1])
            count += 2
        content = b"".join(parts[:count])
        del parts[:count]
        return content

    def _say(self, frame: bytes) -> None:
        """Write a frame that is no message, past the queue."""
        self._spoke = True
        self.traffic.bytes_out += LENGTH_BYTES + len(frame)
        self.transport.write(pack_length(len(frame)) + frame)

    def pauseProducing(self) -> None:
        """Keep the rest here: the transport holds enough."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Give the transport more: it has written all it had."""
        self._paused = False
        self._under_way_bytes = 0
        self.flush()

    def stopProducing(self) -> None:
        """Write no more: the transport is closing, and `connectionLost` is to come."""
        self._paused = True

    # -- staying alive ---------------------------------------------------------------------
    def check(self, rounds_max: int) -> None:
        """Note whether anything came since the last check; close after ``rounds_max`` without.

        Says something itself where nothing was said since.
        """
        self._silent_rounds = 0 if self._heard else self._silent_rounds + 1
        if self._silent_rounds >= rounds_max:
            self._why = self._why or Refused(
                f"nothing came from it for {self._bounds.silence_seconds:g} s",
                "it hangs, or the network does",
            )
            self.transport.abortConnection()
            return
        if not self._spoke and not self._paused:
            self._say(b"")
        self._heard = self._spoke = False

    # -- the end ---------------------------------------------------------------------------
    @property
    def parting(self) -> bool:
        """Whether this end has closed the connection already."""
        return self._why is not None

    def finish(self) -> None:
        """Write what is queued and close: this node stops."""
        if self.peer is None:
            self.abandon(_STOPPING)
        else:
            self.flush()
            self._close(_STOPPING)

    def dismiss(self, why: Refused) -> None:
        """Write what is queued, tell the other end why, and close."""
        self.flush()
        self.refuse(why)

    def abandon(self, why: Refused) -> None:
        """Close at once; nothing more is sent."""
        self._why = self._why or why
        self.transport.abortConnection()

    def _late(self) -> None:
        self.abandon(
            Refused(
                f"it said no Hello within {self._bounds.greeting_seconds:g} s",
                "it hangs, or is no node of a cluster",
            )
        )

    def refuse(self, why: Refused) -> None:
        """Tell the other end why, and part."""
        if self._why is None:
            self._say(wire.encode_refusal(_in_words(why)))
            self._close(why)

    def _refused(self, frame: bytes) -> None:
        """Take the other end's last words."""
        try:
            refusal = wire.decode_greeting(frame)
        except ValueError:
            refusal = Refusal("it did not say why")
        assert isinstance(refusal, Refusal), "the frame's first bytes are a Refusal's"
        text = refusal.text[:TEXT_LENGTH_MAX]
        self._close(Refused(f'it refused us, saying "{text}"', "see there"))
        if self._certified is not None and refusal.why in _WHYS:
            why, promised = Why(refusal.why), refusal.promised
            unfit = Unfit(why, refusal.text, refusal.slot, promised, refusal.reach)
            self._parties.disowned(self._certified, unfit)

    def _close(self, why: Refused) -> None:
        """Part from the other end; it gets little time to agree."""
        if self._why is not None:
            return
        self._why = why
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._clock.callLater(
            self._bounds.parting_seconds, self.transport.abortConnection
        )
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, once, why there is no connection any more."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._queue.clear()
        self.queued_bytes = self._under_way_bytes = 0
        self._parties.closed(self, self._why or explain(reason, self._verdict))


def _in_words(why: Refused) -> Refusal:
    """Return what the other end is told."""
    unfit = why.unfit
    if unfit is None:
        return Refusal(why.text)
    return Refusal(why.text, unfit.why.value, unfit.slot, unfit.promised, unfit.reach)
