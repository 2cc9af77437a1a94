"""An image from another node, for a node that is too far behind.

The log that it lacks is nowhere any more: so it asks a peer, one that does not lead if there is
such, for the state of the store, and goes on from there::

    n3 -> n2   ImageWanted 7, from piece 0
    n2 -> n3   ImagePiece 7.0, 7.1, 7.2, 7.3        each is written to n3's journal, and loaded
    n3 -> n2   ImageWanted 7, from piece 1 ...      7.0 is on the disk
    n2 -> n3   ImageEnd 7.812, checksum             all is there, and whole
    n3         the journal's image is this one      from here on a crash makes no difference
    n3         is where n2 was, in one step
    n3 -> n2   Fetch ...                            the log from there, as ever

Nothing is believed before the end: until then it is pieces in the journal that no recovery
reads, and a store beside the one that serves. What the node had promised and voted for stays as it
is; only what was decided up to the image's slot is known by the image from then on.

Should the link be lost the node asks on where it was; should nothing come for a while it asks
another peer, for another image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from coord.limits import (
    IMAGE_AGAIN_SECONDS,
    IMAGE_FIRST_SECONDS,
    IMAGE_PIECES_AHEAD,
    IMAGE_SILENCE_SECONDS,
    IMAGE_UNLINKED_SECONDS,
    RETRY_SECONDS,
)
from coord.paxos.membership import Governs
from coord.paxos.replica import Replica
from coord.replicator.applier import Applier
from coord.replicator.imaging import Beside, Imaging, Reading, encode_beside
from coord.replicator.interfaces import IImageWriter, IJournal, IPeers
from coord.store.picture import Checksum
from coord.wire import peer as wire
from coord.wire.peer import ImageEnd, ImagePiece, ImageWanted, NoImage


class Adopted(msgspec.Struct, frozen=True):
    """A whole image that is in the journal: who sent it, and the state that it holds."""

    peer: str
    applier: Applier
    governs: tuple[Governs, ...]
    size_bytes: int


class Incoming:
    """One image on its way here: ``piece`` is the next one, ``saved`` are on the disk."""

    def __init__(self, peer: str, number: int, least: int, reading: Reading, now: float) -> None:
        self.peer = peer
        self.number = number
        self.least = least
        self.piece = 0
        self.saved = 0
        self.size_bytes = 0
        self.items_total = 0
        self.heard_at = now
        self.asked_at = now
        self.is_whole = False
        self.writer: IImageWriter | None = None
        self.reading = reading
        self._checksum = Checksum()

    @property
    def share(self) -> float:
        """What part of the image is here, about; from 0 to 1."""
        return min(1.0, self.reading.items / max(1, self.items_total))

    def take(self, content: bytes) -> None:
        """Read the next piece; raises `ValueError` where it is none."""
        self._checksum.add(content)
        self.reading.feed(content)
        self.piece += 1
        self.size_bytes += len(content)

    def end(self, message: ImageEnd) -> Adopted:
        """Return the whole image; raises `ValueError` where it is not."""
        beside = self.reading.beside
        if beside is None or message.checksum != self._checksum.value():
            raise ValueError("its checksum is another")
        return Adopted(self.peer, self.reading.finish(), beside.governs, self.size_bytes)


class Receiving:
    """Sees to it that a node which is too far behind gets an image.

    :param first_number: images that this life asks for are numbered from here on.
    :param adopt: goes on from an image; it is in the journal by then.

    ``images`` counts those adopted. ``log_begins_at`` is where the log of those begins who were
    asked for more of it.
    """

    _log = Logger()

    def __init__(
        self,
        replica: Replica,
        journal: IJournal,
        imaging: Imaging,
        peers: IPeers,
        *,
        first_number: int,
        history_revisions: int,
        now: Callable[[], float],
        adopt: Callable[[Adopted], None],
    ) -> None:
        self._replica = replica
        self._journal = journal
        self._imaging = imaging
        self._peers = peers
        self._number = first_number
        self._history_revisions = history_revisions
        self._now = now
        self._adopt = adopt
        self._incoming: Incoming | None = None
        self._attempts = 0
        self._begin_at = 0.0
        self._is_stopped = False
        self.log_begins_at = 0
        self.images = 0

    @property
    def is_needed(self) -> bool:
        """Whether this node lacks what no log has any more, as far as it knows."""
        return self.log_begins_at > self._replica.chosen + 1

    @property
    def is_under_way(self) -> bool:
        """Whether an image is on its way here."""
        return self._incoming is not None

    def share(self) -> str:
        """Return how much of an image is here, for people; ``-`` where none is under way."""
        incoming = self._incoming
        return "-" if incoming is None else f"{int(100 * incoming.share)}%"

    def told_of_gap(self, sender: str, oldest: int) -> None:
        """Take note that a peer's log begins only at ``oldest``; the leader's word counts."""
        if self._replica.leader in (sender, None):
            self.log_begins_at = oldest

    # -- time, and links ------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """Ask for an image, ask again, or ask another peer."""
        incoming = self._incoming
        if incoming is None:
            if self.is_needed and now >= self._begin_at and not self._is_stopped:
                self._begin(now)
        elif incoming.is_whole or incoming.piece > incoming.saved:
            return  # it waits for this node's disk
        elif not self.is_needed:
            self._give_up("the log is to be had after all")
        elif now - incoming.heard_at > self._patience_seconds(incoming):
            self._give_up(f"nothing came for {now - incoming.heard_at:.1f} s")
        elif now - max(incoming.heard_at, incoming.asked_at) > IMAGE_AGAIN_SECONDS:
            self._ask(incoming, again=True)

    def _patience_seconds(self, incoming: Incoming) -> float:
        """Return how long nothing may come until another peer is asked."""
        if not incoming.piece:
            rounds = min(8, self._attempts // max(1, len(self._peers.connected())))
            return min(IMAGE_FIRST_SECONDS * 2.0**rounds, IMAGE_UNLINKED_SECONDS)
        is_linked = incoming.peer in self._peers.connected()
        return IMAGE_SILENCE_SECONDS if is_linked else IMAGE_UNLINKED_SECONDS

    def connected(self, peer: str) -> None:
        """Take note of a new link: what was on its way by the old one is lost."""
        incoming = self._incoming
        if incoming is not None and incoming.peer == peer and not incoming.is_whole:
            self._ask(incoming, again=True)

    def stop(self) -> None:
        """Take no image any more."""
        self._is_stopped = True
        if self._incoming is not None:
            self._let_go(self._incoming)

    def _begin(self, now: float) -> None:
        """Ask a peer for a new image: each in turn, the leader last."""
        leader = self._replica.leader
        # Not only those of the configuration that is known here: that may be of long ago.
        peers = sorted(self._peers.connected(), key=lambda peer: (peer == leader, peer))
        if not peers:
            return
        peer = peers[self._attempts % len(peers)]
        self._number += 1
        reading = Reading(self._history_revisions)
        incoming = Incoming(peer, self._number, self.log_begins_at - 1, reading, now)
        self._incoming = incoming
        self._log.info("too far behind for the log: {peer} is asked for an image", peer=peer)
        self._ask(incoming)

    def _ask(self, incoming: Incoming, *, again: bool = False) -> None:
        incoming.asked_at = self._now()
        wanted = ImageWanted(incoming.number, incoming.least, incoming.saved, again)
        self._peers.send(incoming.peer, wire.encode(wanted))
        self._peers.flush()

    def _give_up(self, why: str) -> None:
        assert self._incoming is not None
        peer = self._incoming.peer
        self._log.warn("no image from {peer}: {why}", peer=peer, why=why)
        self._let_go(self._incoming)
        self._attempts += 1
        self._begin_at = self._now() + RETRY_SECONDS

    def _let_go(self, incoming: Incoming) -> None:
        self._incoming = None
        if incoming.writer is not None and not incoming.is_whole:
            incoming.writer.abandon()
        self._imaging.resume()

    # -- pieces -----------------------------------------------------------------------------------
    def received(self, sender: str, message: ImagePiece | ImageEnd | NoImage) -> None:
        """Take the next piece, or the end; pass over what is not awaited."""
        incoming = self._incoming
        if incoming is None or incoming.is_whole:
            return
        if (sender, message.number) != (incoming.peer, incoming.number):
            return
        try:
            if isinstance(message, NoImage):
                raise ValueError("it has none, or not any more")
            if message.piece != incoming.piece:
                return
            incoming.heard_at = self._now()
            if isinstance(message, ImageEnd):
                self._end(incoming, message)
            elif message.piece < incoming.saved + IMAGE_PIECES_AHEAD:
                self._take(incoming, message)
        except ValueError as error:
            self._give_up(str(error))

    def _take(self, incoming: Incoming, message: ImagePiece) -> None:
        """Load a piece, and have it written."""
        incoming.take(message.content)
        incoming.items_total = message.items_total
        content = message.content
        if incoming.writer is None:
            assert incoming.reading.beside is not None, "it was the first piece"
            beside = self._own(incoming, incoming.reading.beside)
            self._imaging.pause()
            incoming.writer = self._journal.start_image(beside.slot)
            content = encode_beside(beside)
        written = incoming.writer.add(content)
        written.addCallbacks(partial(self._written, incoming), _nothing)

    def _own(self, incoming: Incoming, beside: Beside) -> Beside:
        """Return the first piece as this node's journal is to have it."""
        if beside.slot < incoming.least or beside.slot <= self._replica.chosen:
            raise ValueError(f"it is of slot {beside.slot}, which is not far enough")
        return msgspec.structs.replace(beside, log_bytes=0, marks=(), log_begins_at=beside.slot + 1)

    def _written(self, incoming: Incoming, _: object) -> None:
        incoming.saved += 1
        if self._incoming is incoming:
            self._ask(incoming)

    def _end(self, incoming: Incoming, message: ImageEnd) -> None:
        """Believe the image, if it is whole, and have the journal do so."""
        adopted = incoming.end(message)
        assert incoming.writer is not None, "there was a piece"
        incoming.is_whole = True
        done: Deferred[None] = incoming.writer.finish()
        done.addCallbacks(partial(self._finished, incoming, adopted), _nothing)

    def _finished(self, incoming: Incoming, adopted: Adopted, _: object) -> None:
        """Go on from the image, now that a restart would, too."""
        if self._incoming is not incoming:
            return
        self._let_go(incoming)
        self._attempts = 0
        if adopted.applier.slot > self._replica.chosen:
            self.images += 1
            self._adopt(adopted)
        incoming.saved += 1
        self._ask(incoming)


def _nothing(failure: object) -> None:
    """Do nothing: the journal tells its observer that it failed."""
