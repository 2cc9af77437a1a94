"""What replicas say to each other, one frozen value a sentence.

Each docstring says who sends it, when, and what the receiver must have done before it
answers. The first element of each array on the wire is its tag; tags are never reused.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Value, Vote
from coord.paxos.witness import Witnessed


class Canvass(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A node that misses a leader asks whether it would be promised ``ballot``.

    ``chosen`` is how far it knows the log. Nothing is saved to answer: a node cut off
    from the others can ask for ever without raising a ballot that would disturb them
    when it comes back.
    """

    ballot: Ballot
    chosen: int


class Endorse(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer to `Canvass`: go on and prepare ``ballot``."""

    ballot: Ballot


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Phase 1a, for all slots from ``slot`` on at once (PMS 3).

    The acceptor saves its promise before it answers. Asked again, for a later ``slot``,
    when a `Promise` did not hold all votes.
    """

    ballot: Ballot
    slot: int


class Promise(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Phase 1b: nothing below ``ballot`` will be accepted any more.

    Answers for slots from ``slot`` to before ``until`` (0: to the end) and carries the
    votes there that the acceptor does not know to be chosen; it knows all up to ``chosen`` to be.
    """

    ballot: Ballot
    slot: int
    until: int
    chosen: int
    votes: tuple[Vote, ...]


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The answer to anything below ``promised``, which carried ``ballot``."""

    ballot: Ballot
    promised: Ballot


class Accept(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Phase 2a: ``values`` for the slots from ``slot`` on; all up to ``chosen`` are chosen.

    The acceptor saves its votes before it answers.
    """

    ballot: Ballot
    slot: int
    values: tuple[Value, ...]
    chosen: int


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Phase 2b: the sender's votes at ``ballot`` from ``slot`` to before ``until`` are saved."""

    ballot: Ballot
    slot: int
    until: int


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The leader of ``ballot`` knows all slots up to ``chosen`` to be chosen.

    Where the receiver's own vote is of this ballot it knows the value; what it lacks it
    asks for with `Fetch`.
    """

    ballot: Ballot
    chosen: int


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The leader of ``ballot`` is there; the ``number``-th time it says so.

    An acceptor that answers promises no other node anything for one lease from now on
    (Chubby 2.8). Also the way to find out, without leases, whether a leader still is one.

    Now and then it carries what the leader ``witnessed`` of all acceptors, as of the configuration
    that governs from slot ``knowledge`` on.
    """

    ballot: Ballot
    number: int
    chosen: int
    witnessed: tuple[Witnessed, ...] = ()
    knowledge: int = 0


class BeatAnswer(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The answer to the `Beat` with this number, by a node that has learnt all to ``chosen``.

    And does not forget that it needs nobody who left with a configuration before: until that is on
    its disk, ``chosen`` is what is.
    """

    ballot: Ballot
    number: int
    chosen: int = 0


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Someone who lacks chosen values asks for those from ``slot`` to before ``until``."""

    slot: int
    until: int


class Supply(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Chosen values, from ``slot`` on; as many as fit, so that asking again goes on.

    ``values`` is empty and ``oldest`` names the first slot still there where the log has
    been cut already.
    """

    slot: int
    values: tuple[Value, ...]
    oldest: int = 0


class Query(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """A node asks the leader up to which slot it has to apply to read linearizably."""

    number: int


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The leader's answer to the `Query` with this number: all up to ``slot``."""

    number: int
    slot: int


Message: TypeAlias = (
    Canvass
    | Endorse
    | Prepare
    | Promise
    | Refuse
    | Accept
    | Accepted
    | Commit
    | Beat
    | BeatAnswer
    | Fetch
    | Supply
    | Query
    | Answer
)
