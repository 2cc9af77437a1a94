"""What is durable on a simulated disk, as bytes: two lives of a node share no object."""

from __future__ import annotations

from typing import Final

import msgspec

from coord.journal.errors import CorruptionError
from coord.paxos.durable import Durable, Header, Save, Value, Vote
from coord.paxos.membership import Configuration

_ENCODER: Final = msgspec.msgpack.Encoder()
_HEADER: Final = msgspec.msgpack.Decoder(Header)
_VOTE: Final = msgspec.msgpack.Decoder(Vote)


class Written(msgspec.Struct, frozen=True):
    """One save as bytes."""

    header: bytes
    votes: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, save: Save) -> Written:
        """Return ``save`` as bytes."""
        votes = tuple((vote.slot, _ENCODER.encode(vote)) for vote in save.votes)
        return cls(_ENCODER.encode(save.header), votes)


class Platter:
    """The header, the log and the newest image; ``initial`` stands in for a first header.

    ``name`` is what its node calls the disk: one that is put in another's place has another.
    """

    def __init__(self, initial: Header, name: str = "disk-1") -> None:
        self.name = name
        self.incarnation = 0
        self.oldest = 1
        self.image_slot = 0
        self.image: tuple[bytes, ...] = ()
        self._header = _ENCODER.encode(initial)
        self._votes: dict[int, bytes] = {}

    def copy(self) -> Platter:
        """Return what a copy of the directory would hold, name and all."""
        copy = Platter(Header(), self.name)
        copy.incarnation, copy.oldest = self.incarnation, self.oldest
        copy.image_slot, copy.image = self.image_slot, self.image
        copy._header, copy._votes = self._header, dict(self._votes)
        return copy

    @property
    def header(self) -> Header:
        """The header that was saved last."""
        return _HEADER.decode(self._header)

    @property
    def reach(self) -> int:
        """The last slot that is chosen, or voted for, as far as is known here."""
        return max((self.header.chosen, self.image_slot, *self._votes))

    def is_behind(self, other: Platter) -> bool:
        """Say whether a promise, or a vote, that is on ``other`` is missing here."""
        return self.header.promised < other.header.promised or self.reach < other.reach

    def outlives(self, other: Platter) -> bool:
        """Say whether all is promised that was on ``other``, and all decided that it voted for."""
        header = self.header
        return header.promised >= other.header.promised and header.chosen >= other.reach

    def configurations(self) -> list[tuple[int, Configuration]]:
        """Return those voted for that may be chosen, or are, each with its slot."""
        votes = [_VOTE.decode(one) for one in self._votes.values() if b"configuration" in one]
        return [(one.slot, one.value) for one in votes if isinstance(one.value, Configuration)]

    def write(self, save: Written) -> None:
        """Make one save durable."""
        self._header = save.header
        for slot, vote in save.votes:
            if slot >= self.oldest:
                self._votes[slot] = vote

    def put_image(self, slot: int, pieces: tuple[bytes, ...]) -> None:
        """Make an image the one that recovery reads."""
        self.image_slot, self.image = slot, pieces

    def trim(self, slot: int) -> None:
        """Drop all votes before ``slot``."""
        for old in range(self.oldest, slot):
            self._votes.pop(old, None)
        self.oldest = max(self.oldest, slot)

    def durable(self) -> Durable:
        """Return what a replica starts from.

        :raises CorruptionError: where a slot that was chosen is gone.
        """
        header = _HEADER.decode(self._header)
        for slot in range(self.image_slot + 1, header.chosen + 1):
            if slot not in self._votes:
                raise CorruptionError(f"the log lacks slot {slot}, which was chosen")
        slots = sorted(slot for slot in self._votes if slot > self.image_slot)
        votes = tuple(_VOTE.decode(self._votes[slot]) for slot in slots)
        return Durable(header, votes, self.image_slot)

    def values(self, slot: int, until: int, size_bytes_max: int) -> list[Value]:
        """Return consecutive values from ``slot`` on; as many as fit, at least one."""
        values: list[Value] = []
        size_bytes = 0
        while slot < until and slot in self._votes:
            size_bytes += len(self._votes[slot])
            if values and size_bytes > size_bytes_max:
                break
            values.append(_VOTE.decode(self._votes[slot]).value)
            slot += 1
        return values
