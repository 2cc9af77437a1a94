"""All that a node does with images of the store: its own, those it sends, and those it gets."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from coord.paxos.replica import Replica
from coord.replicator.applier import Applier
from coord.replicator.imaging import Imaging, LogMarks
from coord.replicator.interfaces import IJournal, IPeers
from coord.replicator.receiving import Adopted, Receiving
from coord.replicator.sending import Sending
from coord.wire.peer import ImageMessage, ImageWanted


class Images:
    """Brings `Imaging`, `Sending` and `Receiving` together.

    :param first_number: images that are asked for are numbered from here on.
    :param guard: calls a function, and sees to it that the node stops where that fails.
    :param adopt: goes on from an image of another node.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        replica: Replica,
        applier: Applier,
        journal: IJournal,
        peers: IPeers,
        log_marks: LogMarks,
        *,
        first_number: int,
        every_bytes: int,
        kept_bytes: int,
        history_revisions: int,
        now: Callable[[], float],
        guard: Callable[..., None],
        adopt: Callable[[Adopted], None],
    ) -> None:
        imaging = Imaging(
            reactor,
            journal,
            applier,
            log_marks,
            governs=lambda: replica.governs,
            every_bytes=every_bytes,
            kept_bytes=kept_bytes,
        )
        self.imaging = imaging
        self.sending = Sending(reactor, applier, imaging, peers, now=now, guard=guard)
        self.receiving = Receiving(
            replica,
            journal,
            imaging,
            peers,
            first_number=first_number,
            history_revisions=history_revisions,
            now=now,
            adopt=lambda adopted: guard(adopt, adopted),
        )

    def received(self, sender: str, message: ImageMessage) -> None:
        """Take a message of a node that sends an image, or wants one."""
        if isinstance(message, ImageWanted):
            self.sending.wanted(sender, message)
        else:
            self.receiving.received(sender, message)

    def tick(self, now: float) -> None:
        """Let time pass."""
        self.sending.tick(now)
        self.receiving.tick(now)

    def adopted(self, slot: int, size_bytes: int) -> None:
        """Take note that the store is another one now: what is sent is of the one before."""
        self.sending.stop()
        self.imaging.adopted(slot, size_bytes)

    def stop(self) -> None:
        """Give up all that is under way."""
        self.imaging.stop()
        self.receiving.stop()
        self.sending.stop()
