"""One of the other nodes, as links know it: its address, its link, and how one comes about.

The node whose name sorts first dials, and dials again; the other one waits to be dialled. Only
where it has waited for a while does it dial, too (`coord.limits.LATE_DIAL_SECONDS`): a node that is
new knows where the others are before they know where it is. While there is a link nobody dials.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from coord.peers.dialler import Dialler
from coord.peers.link import Link, Traffic


class Approach:
    """How this node comes to a link with one peer.

    ``make`` returns a dialler, or ``None`` where dialling makes no sense now. ``late_seconds``
    is how long to wait to be dialled, ``None`` for who dials first.
    """

    def __init__(
        self,
        clock: IReactorTime,
        make: Callable[[], Dialler | None],
        late_seconds: float | None,
    ) -> None:
        self._clock = clock
        self._make = make
        self._late_seconds = late_seconds
        self._dialler: Dialler | None = None
        self._late: IDelayedCall | None = None

    def seek(self) -> None:
        """See to it that there will be a link: there is none."""
        if self._dialler is not None or self._late is not None:
            return
        if self._late_seconds is None:
            self._dial()
        else:
            self._late = self._clock.callLater(self._late_seconds, self._dial)

    def found(self, dialler: Dialler | None) -> None:
        """Leave the peer alone: there is a link, made by ``dialler``, or by the peer's."""
        if dialler is None or dialler is not self._dialler:
            self.stop()
        if dialler is not None:
            dialler.up()
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def dialled(self) -> None:
        """Wait anew: the peer dials by itself, whatever comes of it."""
        if self._late_seconds is not None and (self._late or self._dialler):
            self.stop()
            self.seek()

    def lost(self) -> None:
        """Begin anew: the link is lost. Who dials first does so by its dialler, and hears of it."""
        if self._late_seconds is not None:
            self.stop()
        self.seek()

    def stop(self) -> None:
        """Neither dial nor wait, until told to `seek`."""
        if self._dialler is not None:
            self._dialler.stop()
            self._dialler = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _dial(self) -> None:
        self._late = None
        self._dialler = self._make()
        if self._dialler is not None:
            self._dialler.start()
        elif self._late_seconds is not None:
            self.seek()


@attrs.define(eq=False)
class Peer:
    """One of the other nodes; ``is_guest``: nobody named it, but it was found fit.

    ``version`` is what the last link with it spoke, 0 before the first.
    """

    name: str
    address: str
    approach: Approach
    is_guest: bool = False
    link: Link | None = None
    version: int = 0
    traffic: Traffic = attrs.field(factory=Traffic)

    def describe(self, how: str) -> str:
        """Return one dense line: who, how, since which life of it, and how much went over."""
        link, traffic = self.link, self.traffic
        state = "down"
        if link is not None:
            state = f"up i={link.incarnation} v={self.version} queue={link.queued_bytes}B"
        return (
            f"{self.name} {'guest' if self.is_guest else how} {self.address} {state}"
            f" links={traffic.links} in={traffic.frames_in}/{traffic.bytes_in}B"
            f" out={traffic.frames_out}/{traffic.bytes_out}B dropped={traffic.dropped}"
        )
