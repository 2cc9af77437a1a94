"""Images to nodes that are too far behind, a few pieces at a time.

A node that asks gets a picture of the store as it is now. The pieces are made as they are asked
for, one a turn of the loop: so this node goes on serving. Those sent and not yet on the other's
disk are kept, to be sent again; there are `IMAGE_PIECES_AHEAD` at most. A link that is lost
loses nothing: the other asks on when there is a new one. If it asks no more the picture is let go,
since it holds history; and the log after the image, which was kept for the other, with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from coord.limits import IMAGE_HELD_SECONDS, IMAGE_PIECES_AHEAD, PICTURE_REVISIONS_MAX
from coord.replicator.applier import Applier
from coord.replicator.imaging import Imaging, encode_beside
from coord.replicator.interfaces import IPeers
from coord.store.picture import Checksum, Picture
from coord.wire import peer as wire
from coord.wire.peer import ImageEnd, ImagePiece, ImageWanted, NoImage


class Outgoing:
    """One image on its way to one peer; ``slot`` is that after which it is the state."""

    def __init__(self, peer: str, number: int, slot: int, first: bytes, picture: Picture) -> None:
        self.peer = peer
        self.number = number
        self.slot = slot
        self.rev = picture.rev
        self.items_total = 0
        self.heard_at = 0.0
        self.call: IDelayedCall | None = None
        self.is_made = False
        self._picture = picture
        self._pieces: Iterator[bytes] = chain((first,), picture.pieces())
        self._checksum = Checksum()
        self._kept: deque[bytes] = deque()
        self._first = 0
        self._next = 0

    def asked(self, message: ImageWanted) -> None:
        """Take note of what is on the other's disk, and from where on it lacks what was sent."""
        while self._kept and self._first < message.piece:
            self._kept.popleft()
            self._first += 1
        if message.again and self._first == message.piece:
            self._next = self._first
        self._next = max(self._next, self._first)

    @property
    def has_work(self) -> bool:
        """Whether a piece may be sent or made now."""
        made = self._first + len(self._kept)
        return self._next < made or (not self.is_made and len(self._kept) < IMAGE_PIECES_AHEAD)

    def step(self) -> bytes | None:
        """Return the next frame; None where to look for it took long enough, or nothing is due."""
        if self._next == self._first + len(self._kept) and not self._make():
            return None
        self._next += 1
        return self._kept[self._next - 1 - self._first]

    def _make(self) -> bool:
        number = self._first + len(self._kept)
        piece = next(self._pieces, None)
        if piece is None:
            self.close()
            frame = wire.encode(ImageEnd(self.number, number, self._checksum.value()))
        elif piece:
            self._checksum.add(piece)
            frame = wire.encode(ImagePiece(self.number, number, piece, self.items_total))
        else:
            return False
        self._kept.append(frame)
        return True

    def close(self) -> None:
        """Make no more pieces."""
        self.is_made = True
        self._picture.close()


class Sending:
    """All images on their way from here; ``images`` counts those that were sent to their end."""

    def __init__(
        self,
        reactor: IReactorTime,
        applier: Applier,
        imaging: Imaging,
        peers: IPeers,
        *,
        now: Callable[[], float],
        guard: Callable[..., None],
    ) -> None:
        self._reactor = reactor
        self._applier = applier
        self._imaging = imaging
        self._peers = peers
        self._now = now
        self._guard = guard
        self._outgoing: dict[str, Outgoing] = {}
        self._last: dict[str, int] = {}
        self.images = 0

    def __len__(self) -> int:
        return len(self._outgoing)

    def wanted(self, sender: str, message: ImageWanted) -> None:
        """Give a node more of its image, or begin one where it asks for a new one."""
        outgoing = self._outgoing.get(sender)
        if outgoing is None or outgoing.number < message.number:
            outgoing = self._begin(sender, message)
        if outgoing is None or outgoing.number != message.number:
            self._peers.send(sender, wire.encode(NoImage(message.number)))
            return
        outgoing.heard_at = self._now()
        outgoing.asked(message)
        self._go_on(outgoing)

    def tick(self, now: float) -> None:
        """Let go of what nobody asks for, and of what holds too much history."""
        for outgoing in list(self._outgoing.values()):
            age = self._applier.store.rev - outgoing.rev
            is_old = age > PICTURE_REVISIONS_MAX and not outgoing.is_made
            if is_old or now - outgoing.heard_at > IMAGE_HELD_SECONDS:
                self._drop(outgoing)

    def stop(self) -> None:
        """Let go of all images."""
        for outgoing in list(self._outgoing.values()):
            self._drop(outgoing)

    def _begin(self, peer: str, message: ImageWanted) -> Outgoing | None:
        """Begin a new image, unless this node is not far enough itself, or it was given up."""
        if peer in self._outgoing:
            self._drop(self._outgoing[peer])
        beside, store = self._imaging.beside(), self._applier.store
        is_known = message.piece > 0 or message.number <= self._last.get(peer, 0)
        if is_known or beside.slot < message.least:
            return None
        self._last[peer] = message.number
        first, picture = encode_beside(beside), store.picture()
        outgoing = Outgoing(peer, message.number, beside.slot, first, picture)
        outgoing.items_total = store.node_count + store.rev - store.horizon
        self._outgoing[peer] = outgoing
        self._imaging.hold(peer, beside.slot)
        return outgoing

    def _drop(self, outgoing: Outgoing) -> None:
        outgoing.close()
        self._imaging.release(outgoing.peer)
        if outgoing.call is not None:
            outgoing.call.cancel()
        del self._outgoing[outgoing.peer]

    def _go_on(self, outgoing: Outgoing) -> None:
        if outgoing.call is None and outgoing.has_work:
            outgoing.call = self._reactor.callLater(0, self._guard, self._step, outgoing)

    def _step(self, outgoing: Outgoing) -> None:
        """Make and send one piece, then let others have their turn."""
        outgoing.call = None
        was_made = outgoing.is_made
        frame = outgoing.step()
        if frame is not None:
            self._peers.send(outgoing.peer, frame)
            self._peers.flush()
        self.images += outgoing.is_made and not was_made
        self._go_on(outgoing)
