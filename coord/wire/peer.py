"""The conversation between nodes: what a link's frames hold.

A frame on a link is four bytes of length, big-endian, and then one message. The first
message in each direction is a `Hello`, the dialler's before the listener's; all later ones
are `PeerMessage`. A `Refusal` may take the place of any of them and is the last. An empty
frame says only that its sender is alive.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from coord.commands import ChangeMembers
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.messages import Message

PROTOCOL: Final = 5
"""The newest version of this conversation that this program speaks. 2: batches say who asks, nodes
tell the leader of sessions (`Renew`), and there are commands that a node of 1 cannot read. 3:
voters tell what their stores came to (`Digests`). 4: a node that is too far behind asks for an
image (`ImageWanted`). 5: configurations say where members are and on which disk, members change
(`MembersWanted`), and a `Hello` tells what its sender has promised."""
CARDS_SINCE: Final = 5
"""The version since which a `Hello` says what a card holds, and members may change."""
PROTOCOL_OLDEST: Final = 4
"""The oldest version that this program still speaks: with the release before, so that the nodes of
a cluster can be upgraded one after the other."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="coord"):
    """The first frame, both ways: who speaks, to whom, of which cluster and version.

    The name must be the one in the certificate, the cluster the same, and there must be a version
    that both know: else the link is closed, with one line in both logs. ``protocol`` is the oldest
    that the sender speaks, ``newest`` the newest (0, from nodes of before: the same); the link
    speaks the newest that both know. The rest is what a `coord.replicator.interfaces.Card` tells.
    """

    protocol: int
    cluster: str
    node: str
    to: str
    incarnation: int
    newest: int = 0
    disk: str = ""
    address: str = ""
    promised: Ballot = NEVER
    reach: int = 0
    slot: int = 0
    is_observer: bool = False
    founding: str = ""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Why the sender closes the link now, for the log at the other end.

    Sent by whichever end found the fault, so that a person may read either log. ``why`` says it to
    the program where the node itself is not wanted, by a configuration that governs from ``slot``
    on. All of it is of a `coord.replicator.interfaces.Unfit`.
    """

    text: str
    why: str = ""
    slot: int = 0
    promised: Ballot = NEVER
    reach: int = 0


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """A node that does not lead hands encoded batches to the one that does, in order."""

    batches: tuple[bytes, ...]


class Renew(msgspec.Struct, frozen=True, array_like=True, tag=65):
    """A node tells the leader which sessions were heard of there lately.

    ``ages_ms`` says how long ago each was, where it could not be told at once. The leader answers
    with a `Renewed` of the same number, but only while it is certain to lead; what is not
    answered the sender tells again, under new numbers.
    """

    number: int
    sessions: tuple[str, ...]
    ages_ms: tuple[int, ...] = ()


class Renewed(msgspec.Struct, frozen=True, array_like=True, tag=66):
    """Every session of that `Renew` has its full timeout from when it was heard of.

    Except ``lost``: there is no such session, or it is about to expire.
    """

    number: int
    lost: tuple[str, ...] = ()


class Digests(msgspec.Struct, frozen=True, array_like=True, tag=72):
    """What the sender's store came to, each with its slot; from voters, whenever there is news.

    ``chained`` are of the hash chain over all changes, ``surveyed`` are hashes over the store as it
    stood, taken value by value, and mean something to who takes them by the same ``layout``.
    Who receives it compares, decides for itself alone, and answers nothing.
    """

    chained: tuple[tuple[int, bytes], ...]
    surveyed: tuple[tuple[int, bytes], ...] = ()
    layout: int = 0


class MembersWanted(msgspec.Struct, frozen=True, array_like=True, tag=71):
    """A node asks the leader to change who the members are; asked again of each new leader.

    The leader answers with a refusal, with a plan, or once it is done and a majority of those who
    vote now has learnt all that was chosen before. ``again``: a leader before may have done it, so
    that finding it done is no reason to refuse. ``disk``: the one that the node was on before.
    """

    number: int
    change: ChangeMembers
    again: bool = False
    disk: str = ""


class MembersAnswer(msgspec.Struct, frozen=True, array_like=True, tag=73):
    """Why the change of this number is not made (``code`` and ``text``), or the plan's ``rows``.

    Without any of these it is made, and holds.
    """

    number: int
    code: str = ""
    text: str = ""
    rows: tuple[str, ...] = ()


class ImageWanted(msgspec.Struct, frozen=True, array_like=True, tag=67):
    """A node that is too far behind asks for an image of the store, and for more of it.

    ``number`` is the image's name, given by who asks and never given twice; it is of a slot that
    is no earlier than ``least``. All pieces before ``piece`` are on the asker's disk, which asks
    for a few more, and where it waited for them in vain (``again``) for those that were sent, too.
    The piece after `ImageEnd` is asked for once the image is whole: it may be forgotten.
    """

    number: int
    least: int
    piece: int
    again: bool = False


class ImagePiece(msgspec.Struct, frozen=True, array_like=True, tag=68):
    """The ``piece``-th piece of an image, counted from 0, which is what `Beside` holds.

    There are about ``items_total`` nodes and revisions in the whole image.
    """

    number: int
    piece: int
    content: bytes
    items_total: int


class ImageEnd(msgspec.Struct, frozen=True, array_like=True, tag=69):
    """There are ``piece`` pieces, and ``checksum`` is over all of them."""

    number: int
    piece: int
    checksum: bytes


class NoImage(msgspec.Struct, frozen=True, array_like=True, tag=70):
    """The sender does not have the image of this number, or not any more, and will not make it."""

    number: int


ImageMessage: TypeAlias = ImageWanted | ImagePiece | ImageEnd | NoImage
MembersMessage: TypeAlias = MembersWanted | MembersAnswer
PeerMessage: TypeAlias = (
    Message | Forward | Renew | Renewed | Digests | ImageMessage | MembersMessage
)
Greeting: TypeAlias = Hello | Refusal

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[PeerMessage]] = msgspec.msgpack.Decoder(PeerMessage)
_GREETING: Final[msgspec.msgpack.Decoder[Greeting]] = msgspec.msgpack.Decoder(Greeting)

_REFUSED: Final = _ENCODER.encode("refused")


def is_refusal(frame: bytes) -> bool:
    """Say whether a frame is a `Refusal`, of whichever release: of two parts or of more."""
    return frame.startswith(_REFUSED, 1)  # behind the one byte that says how many parts there are


def encode_refusal(refusal: Refusal) -> bytes:
    """Return the frame of a `Refusal`, as short as before 5 where that says all.

    Nodes of then know it by its length, too, where it ends a link.
    """
    return _ENCODER.encode(refusal if refusal.why else ("refused", refusal.text))


def encode(message: PeerMessage | Greeting) -> bytes:
    """Return the frame's content."""
    return _ENCODER.encode(message)


def decode(frame: bytes) -> PeerMessage:
    """Return what a frame holds; `ValueError` (``msgspec.ValidationError``) where it is junk."""
    return _DECODER.decode(frame)


def decode_greeting(frame: bytes) -> Greeting:
    """Return the `Hello` or the `Refusal` in a frame; `ValueError` where there is neither."""
    return _GREETING.decode(frame)
