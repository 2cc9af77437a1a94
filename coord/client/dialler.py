"""Which server to talk to, when to dial it, and when to dial again.

::

                      lost
        .------------------------------.
        v                              |
     resting --want--> waiting --due--> dialling --up--> linked
        ^                 |                                 |
        '------rest-------'             '-------lost--------'     close: from everywhere

Servers are tried in the order given, from the one after the last tried. A server that has not been
tried since the last link is dialled at once; once all were tried in vain a wait comes before
each round, drawn from the upper half of a span that doubles from 0.05 s to 1 s. The span is short
again once a link has lived for as long as the longest wait. After a loss the first attempt waits
for a random moment, so that clients which lost their server together do not all come at once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint

from coord.client.tls import Tls
from coord.limits import DIAL_SECONDS, REDIAL_SECONDS_MAX, REDIAL_SECONDS_MIN

_HOST_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:=\[\]]+)):([0-9]{1,5})")


def endpoint(reactor: Any, server: str, tls: Tls | None = None) -> IStreamClientEndpoint:
    """Return the endpoint that ``server`` names: ``HOST:PORT``, or as Twisted writes them.

    :param tls: how to speak TLS to a ``HOST:PORT``.
    :raises ValueError: where it names none.
    """
    found = _HOST_PORT.fullmatch(server)
    if found is None:
        made: IStreamClientEndpoint = clientFromString(reactor, server)
        return made
    host, port = found[1] or found[2], int(found[3])
    if not 0 < port < 65536:
        raise ValueError(f"{server}: a port is a number from 1 to 65535")
    plain = HostnameEndpoint(reactor, host, port, timeout=DIAL_SECONDS, attemptDelay=0.1)
    return plain if tls is None else tls.wrap(host, plain)


class Dialler(Protocol):
    """What befalls the attempts to reach a server."""

    def want(self) -> None:
        """Hear that a link is wanted."""

    def rest(self) -> None:
        """Hear that none is wanted any more."""

    def due(self) -> None:
        """Hear that the wait is over."""

    def up(self) -> None:
        """Hear that the server has answered."""

    def lost(self) -> None:
        """Hear that there is no connection: there never was one, it is gone, or was left."""

    def close(self) -> None:
        """Dial no more."""


@attrs.define(kw_only=True)
class Dialling:
    """What a dialler works with.

    :param servers: how many servers there are.
    :param connect: dials the server of that number; its Deferred says only whether the
        attempt failed, and what with. What becomes of a connection is told to the machine.
    :param failed: hears what an attempt failed with.
    """

    clock: IReactorTime
    dice: random.Random
    servers: int
    connect: Callable[[int], Deferred[Any]]
    failed: Callable[[Any], None]
    turn: int = -1
    tried: int = 0
    span_seconds: float = REDIAL_SECONDS_MIN
    _since: float = 0.0
    _was_up: bool = False
    _attempt: Deferred[Any] | None = None
    _wait: IDelayedCall | None = None

    def wait(self, dialler: Dialler) -> None:
        """Wait before the next attempt, or hardly, where a server was not tried yet."""
        seconds = self.dice.uniform(0.0, REDIAL_SECONDS_MIN) if self._was_up else 0.0
        self._was_up = False
        if self.tried >= self.servers:
            self.tried = 0
            seconds = self.span_seconds * self.dice.uniform(0.5, 1.0)
            self.span_seconds = min(2 * self.span_seconds, REDIAL_SECONDS_MAX)
        self._wait = self.clock.callLater(seconds, dialler.due)

    def attempt(self, dialler: Dialler) -> None:
        """Dial the next server."""
        self.turn = (self.turn + 1) % self.servers
        self.tried += 1
        self._attempt = self.connect(self.turn)
        self._attempt.addErrback(self.failed)

    def note_up(self) -> None:
        """Remember since when there is a link."""
        self._since = self.clock.seconds()

    def note_lost(self) -> None:
        """Begin a new round where the link was there for some time."""
        self._was_up = True
        if self.clock.seconds() - self._since >= REDIAL_SECONDS_MAX:
            self.tried = 0
            self.span_seconds = REDIAL_SECONDS_MIN

    def give_up(self) -> None:
        """Stop waiting or dialling, whichever it is."""
        if self._wait is not None and self._wait.active():
            self._wait.cancel()
        if self._attempt is not None:
            self._attempt.cancel()


def _machine() -> Callable[[Dialling], Dialler]:
    """Return the machine of the picture above: edges first, behaviour second."""
    machine = TypeMachineBuilder(Dialler, Dialling)
    resting = machine.state("resting")
    waiting = machine.state("waiting")
    dialling = machine.state("dialling")
    linked = machine.state("linked")
    closed = machine.state("closed")

    resting.upon(Dialler.rest).loop().returns(None)
    resting.upon(Dialler.lost).loop().returns(None)
    waiting.upon(Dialler.want).loop().returns(None)
    waiting.upon(Dialler.lost).loop().returns(None)
    dialling.upon(Dialler.want).loop().returns(None)
    dialling.upon(Dialler.rest).loop().returns(None)
    dialling.upon(Dialler.lost).to(resting).returns(None)
    linked.upon(Dialler.want).loop().returns(None)
    linked.upon(Dialler.rest).loop().returns(None)
    closed.upon(Dialler.want).loop().returns(None)
    closed.upon(Dialler.rest).loop().returns(None)
    closed.upon(Dialler.due).loop().returns(None)
    closed.upon(Dialler.up).loop().returns(None)
    closed.upon(Dialler.lost).loop().returns(None)
    closed.upon(Dialler.close).loop().returns(None)

    @resting.upon(Dialler.want).to(waiting)
    def wait(dialler: Dialler, core: Dialling) -> None:
        core.wait(dialler)

    @waiting.upon(Dialler.rest).to(resting)
    def stop_waiting(dialler: Dialler, core: Dialling) -> None:
        core.give_up()

    @waiting.upon(Dialler.due).to(dialling)
    def dial(dialler: Dialler, core: Dialling) -> None:
        core.attempt(dialler)

    @dialling.upon(Dialler.up).to(linked)
    def link(dialler: Dialler, core: Dialling) -> None:
        core.note_up()

    @linked.upon(Dialler.lost).to(resting)
    def lose(dialler: Dialler, core: Dialling) -> None:
        core.note_lost()

    @resting.upon(Dialler.close).to(closed)
    @waiting.upon(Dialler.close).to(closed)
    @dialling.upon(Dialler.close).to(closed)
    @linked.upon(Dialler.close).to(closed)
    def close(dialler: Dialler, core: Dialling) -> None:
        core.give_up()

    return machine.build()


make_dialler = _machine()
"""Return a dialler, resting, that works with a `Dialling`."""
