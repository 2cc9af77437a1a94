"""What a replica wants done, in the order in which it must be done.

Send, hand ``save`` to the disk, apply what was chosen, then answer reads. Nothing
that depends on a save is in ``send`` beside it: it comes out of ``Replica.saved`` once the
disk has said so. So a leader's own disk and the way to the others' run side by side. Exactly
one function of the program, the replicator's, obeys these.
"""

from __future__ import annotations

import msgspec

from coord.paxos.durable import Save, Value
from coord.paxos.messages import Message


class Envelope(msgspec.Struct, frozen=True):
    """One message, to be encoded once, for each of the nodes in ``to``."""

    to: tuple[str, ...]
    message: Message


class Chosen(msgspec.Struct, frozen=True):
    """The value chosen in ``slot``; they come without gap and in order."""

    slot: int
    value: Value


class Readable(msgspec.Struct, frozen=True):
    """A read numbered ``number`` may be answered once all up to ``slot`` is applied."""

    number: int
    slot: int


class Recall(msgspec.Struct, frozen=True):
    """``peer`` asked for chosen values so old that only the journal has them.

    The replicator reads those from ``slot`` to before ``until`` and sends a `Supply`.
    """

    peer: str
    slot: int
    until: int


class Effects(msgspec.Struct, frozen=True):
    """What one input led to."""

    save: Save | None = None
    send: tuple[Envelope, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    readable: tuple[Readable, ...] = ()
    recall: tuple[Recall, ...] = ()


NOTHING = Effects()
