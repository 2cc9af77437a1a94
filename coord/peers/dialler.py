"""When to dial a peer, and when to dial it again.

::

    resting --start--> dialling --up--> linked
                        |    ^            |
                      lost   due        lost
                        v    |            |
                       waiting <----------'         stop: from everywhere to stopped

One attempt is under way at a time and has exactly one outcome: either the link comes up, or
it is lost before that. A wait is drawn from the upper half of a span that doubles with each
failure, from 0.05 s to 1 s by default: a node that restarts is reached within a second, and
two that lost each other do not dial in step with the others. The span is short again once a
link has lived for as long as the longest wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import attrs
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.python.failure import Failure

from coord.peers.link import Bounds


class Dialler(Protocol):
    """What befalls the attempts to reach one peer."""

    def start(self) -> None:
        """Begin."""

    def up(self) -> None:
        """Hear that the Hellos were exchanged."""

    def lost(self) -> None:
        """Hear that there is no connection: there never was one, or it is gone."""

    def due(self) -> None:
        """Hear that the wait is over."""

    def stop(self) -> None:
        """Leave the peer alone from now on. A link that is up is somebody else's to close."""


@attrs.define(kw_only=True)
class Dialling:
    """What a dialler works with.

    ``connect`` makes one attempt. Its Deferred says only whether there was a connection;
    what becomes of that is told to the machine. ``unreachable`` hears why there was none.
    """

    clock: IReactorTime
    dice: random.Random
    bounds: Bounds
    connect: Callable[[], Deferred[IProtocol]]
    unreachable: Callable[[Failure], None]
    span_seconds: float = attrs.field(init=False)
    _since: float = attrs.field(init=False, default=0.0)
    _attempt: Deferred[None] | None = attrs.field(init=False, default=None)
    _wait: IDelayedCall | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.span_seconds = self.bounds.redial_seconds_min

    def attempt(self, dialler: Dialler) -> None:
        """Dial; on failure the machine hears `Dialler.lost`."""

        def failed(failure: Failure) -> None:
            self.unreachable(failure)
            dialler.lost()

        self._attempt = self.connect().addCallbacks(lambda _: None, failed)

    def wait(self, dialler: Dialler) -> None:
        """Wait for a part of the span, which then doubles."""
        seconds = self.span_seconds * self.dice.uniform(0.5, 1.0)
        self.span_seconds = min(2 * self.span_seconds, self.bounds.redial_seconds_max)
        self._wait = self.clock.callLater(seconds, dialler.due)

    def note_up(self) -> None:
        """Remember since when there is a link."""
        self._since = self.clock.seconds()

    def note_lost(self) -> None:
        """Shorten the span where the link was there for some time."""
        if self.clock.seconds() - self._since >= self.bounds.redial_seconds_max:
            self.span_seconds = self.bounds.redial_seconds_min

    def give_up(self) -> None:
        """Stop dialling or waiting, whichever it is."""
        if self._attempt is not None:
            self._attempt.cancel()
        if self._wait is not None and self._wait.active():
            self._wait.cancel()


def _machine() -> Callable[[Dialling], Dialler]:
    """Return the machine of the picture above: edges first, behaviour second."""
    machine = TypeMachineBuilder(Dialler, Dialling)
    resting = machine.state("resting")
    dialling = machine.state("dialling")
    linked = machine.state("linked")
    waiting = machine.state("waiting")
    stopped = machine.state("stopped")

    resting.upon(Dialler.stop).to(stopped).returns(None)
    linked.upon(Dialler.stop).to(stopped).returns(None)
    stopped.upon(Dialler.stop).loop().returns(None)
    stopped.upon(Dialler.up).loop().returns(None)
    stopped.upon(Dialler.lost).loop().returns(None)

    @resting.upon(Dialler.start).to(dialling)
    @waiting.upon(Dialler.due).to(dialling)
    def dial(dialler: Dialler, core: Dialling) -> None:
        core.attempt(dialler)

    @dialling.upon(Dialler.up).to(linked)
    def link(dialler: Dialler, core: Dialling) -> None:
        core.note_up()

    @dialling.upon(Dialler.lost).to(waiting)
    def wait(dialler: Dialler, core: Dialling) -> None:
        core.wait(dialler)

    @linked.upon(Dialler.lost).to(waiting)
    def wait_again(dialler: Dialler, core: Dialling) -> None:
        core.note_lost()
        core.wait(dialler)

    @dialling.upon(Dialler.stop).to(stopped)
    @waiting.upon(Dialler.stop).to(stopped)
    def give_up(dialler: Dialler, core: Dialling) -> None:
        core.give_up()

    return machine.build()


make_dialler = _machine()
"""Return a dialler, resting, that works with a `Dialling`."""
