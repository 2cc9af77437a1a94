"""What the one loop needs of the world, declared by the loop that owns it.

The I/O floor provides these, the simulator provides them again, and both providers sit the
same examination (``tests/journal``, ``tests/peers``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred

from coord.commands import Read, Write
from coord.paths import Glob
from coord.paxos.durable import Durable, Save, Value
from coord.results import Items, Result
from coord.store.watches import Watch


class Recovered(msgspec.Struct, frozen=True):
    """What a journal held when it was opened.

    ``incarnation`` counts the openings of this directory and is durable before it is told.
    ``image`` are the pieces of the newest whole image, in order, empty where there is none;
    ``durable.base`` is the slot up to which that image goes.
    """

    incarnation: int
    durable: Durable
    image: Iterator[bytes]


class IJournalObserver(Protocol):
    """Who hears from a journal, always in the reactor's thread, never inside a call to it."""

    def saved(self, ticket: int) -> None:
        """Take note that every save up to the one with this ticket is on the disk."""

    def failed(self, error: Exception) -> None:
        """Stop acknowledging: a save could not be made, and no later one will be."""


class IImageWriter(Protocol):
    """One image on its way into the journal. Pieces are kept in order."""

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece; fires once the disk is ready for the next."""

    def finish(self) -> Deferred[None]:
        """Make this image the one that recovery reads; drop older ones, in small steps."""

    def abandon(self) -> None:
        """Forget the image; its pieces are dropped."""


class IJournal(Protocol):
    """The disk of one node: durable saves, the log, and images of the store."""

    def recover(self) -> Recovered:
        """Read what is there. Called once, first, and may block."""

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told what happened; called once, before the first save."""

    def save(self, save: Save) -> None:
        """Queue a save; all queued at one time become durable by one fsync."""

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with the values from ``slot`` to before ``until`` that the log still has.

        They are consecutive and begin at ``slot``; as many as fit, at least one; none at all
        where the log no longer (or not yet) has ``slot``.
        """

    def oldest(self) -> int:
        """Return the first slot that the log still has."""

    def start_image(self, slot: int) -> IImageWriter:
        """Begin an image of the state after ``slot``. One at a time."""

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``, in small steps between saves."""

    def close(self) -> Deferred[None]:
        """Finish what is queued, then let go of the disk."""


class IPeersObserver(Protocol):
    """Who hears from the links."""

    def received(self, sender: str, frame: bytes) -> None:
        """Take a whole frame of a peer whose identity was verified.

        Raises `ValueError` where the frame makes no sense; the link is then closed.
        """

    def connected(self, peer: str) -> None:
        """Take note that a link to ``peer`` is up: what was sent before may be lost."""

    def disconnected(self, peer: str) -> None:
        """Take note that there is no link to ``peer`` any more."""


class IPeers(Protocol):
    """Links to the other nodes: unreliable, ordered per link, bounded."""

    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told; called once, before ``start``."""

    def send(self, peer: str, frame: bytes) -> None:
        """Queue a frame; dropped where there is no link or too much is queued.

        All frames queued in one turn leave in one write.
        """

    def flush(self) -> None:
        """Write what is queued now; the loop says so at the end of its turn."""

    def connected(self) -> frozenset[str]:
        """Return the peers to whom there is a link."""


class ICoordinator(Protocol):
    """What a front end needs of the loop: requests in, answers and events out.

    Everything happens in the reactor's thread; nothing here blocks.
    """

    @property
    def rev(self) -> int:
        """This node's revision as it stands."""

    def submit(
        self, commands: Sequence[Write | Read], answer: Callable[[Sequence[Result]], None]
    ) -> None:
        """Do a group of commands in order; ``answer`` gets a result for each, once.

        It may be called before this returns. Groups that write take effect in the order in
        which they were submitted.
        """

    def watch(self, glob: Glob, after_rev: int | None, wake: Callable[[], None]) -> Watch:
        """Watch from now, or from a revision on; ``wake`` is called when there is something.

        :raises TooLate: when the history after that revision is gone.
        """

    def status(self) -> Items:
        """Return how this node is, as ``name=value``."""

    def members(self) -> Items:
        """Return the cluster as this node sees it: node, address, part, up or down."""
