"""What must survive a crash, as one value (PMS 2.5; PML 5.1).

An acceptor has promised a ballot and has voted for values in slots. It saves both
before it sends anything that depends on them. ``chosen`` rides along: it says how far
this node knew the log to be chosen, so that a restart need not ask again. It may be
older than the truth, never newer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.membership import Configuration, Governs
from coord.paxos.witness import Witnessed

Value: TypeAlias = bytes | Configuration
"""What a slot holds: opaque bytes (``b""`` does nothing), or a configuration."""


def describe_value(value: Value) -> str:
    """Return what a slot holds in a few words: how much, not what."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if value else "no-op"
    return f"configuration {' '.join(value.voters)}"


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The acceptor's state but for its votes.

    Every slot up to ``chosen`` is chosen, and where the log holds a vote for such a slot,
    the value of that vote is the one chosen, whatever its ballot. ``witnessed`` is of no use to
    this node, but to the others, should one of them lose what it had saved.
    """

    promised: Ballot = NEVER
    chosen: int = 0
    governs: tuple[Governs, ...] = ()
    witnessed: tuple[Witnessed, ...] = ()


class Vote(msgspec.Struct, frozen=True, array_like=True):
    """The last vote for one slot: its ballot and its value."""

    slot: int
    ballot: Ballot
    value: Value

    def describe(self) -> str:
        """Return the vote in one line, the value as its size."""
        return f"{self.slot} voted for {describe_value(self.value)} at b={self.ballot.describe()}"


class Save(msgspec.Struct, frozen=True):
    """What is to be made durable, in one piece, after every ``Save`` before it.

    ``ticket`` comes back through ``Replica.saved`` once it is; a later ticket stands for
    all before it. Each vote takes the place of an earlier one for its slot.
    """

    ticket: int
    header: Header
    votes: tuple[Vote, ...] = ()


class Durable(msgspec.Struct, frozen=True):
    """What a replica starts from: the header, and all votes above ``base``.

    ``base`` is the slot up to which the log need not be known any more, since the state
    that it led to is known by an image. Votes are ordered by slot; gaps may occur only
    above ``header.chosen``.
    """

    header: Header
    votes: tuple[Vote, ...] = ()
    base: int = 0
