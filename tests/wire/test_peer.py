"""Tests of `coord.wire.peer`."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import ChangeMembers, Deed
from coord.paxos import messages
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Value, Vote
from coord.paxos.membership import Configuration, Member
from coord.paxos.witness import Witnessed
from coord.wire import peer
from coord.wire.peer import Digests, Forward, Hello, PeerMessage, Refusal, Renew, Renewed

numbers = some.integers(min_value=0, max_value=(1 << 63) - 1)
ballots = some.builds(Ballot, numbers, some.text(max_size=8))
names = some.lists(some.text(max_size=8), max_size=4).map(tuple)
members = some.lists(some.builds(Member), max_size=3).map(tuple)
values = some.binary(max_size=40) | some.builds(Configuration, names, names, members)
votes = some.builds(Vote, numbers, ballots, values)

FIELDS: dict[object, some.SearchStrategy[object]] = {
    Ballot: ballots,
    int: numbers,
    str: some.text(max_size=8),
    ChangeMembers: some.builds(ChangeMembers),
    bool: some.booleans(),
    bytes: some.binary(max_size=40),
    tuple[Vote, ...]: some.lists(votes, max_size=4).map(tuple),
    tuple[Value, ...]: some.lists(values, max_size=4).map(tuple),
    tuple[str, ...]: names,
    tuple[int, ...]: some.lists(numbers, max_size=4).map(tuple),
    tuple[tuple[int, bytes], ...]: some.lists(
        some.tuples(numbers, some.binary(max_size=20)), max_size=4
    ).map(tuple),
    tuple[Witnessed, ...]: some.lists(
        some.builds(Witnessed, some.text(max_size=8), ballots, numbers), max_size=3
    ).map(tuple),
    tuple[bytes, ...]: some.lists(some.binary(max_size=40), max_size=4).map(tuple),
}
"""What a field of each type may hold."""


def instances(kind: type[msgspec.Struct]) -> some.SearchStrategy[msgspec.Struct]:
    """Return a strategy of all values of one type of message."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: FIELDS[hints[field.name]] for field in msgspec.structs.fields(kind)}
    return some.builds(kind, **fields)


KINDS: tuple[type[msgspec.Struct], ...] = typing.get_args(PeerMessage)
every = some.one_of([instances(kind) for kind in KINDS])

EXAMPLES: tuple[PeerMessage, ...] = (
    messages.Canvass(Ballot(3, "n2"), 41),
    messages.Endorse(Ballot(3, "n2")),
    messages.Prepare(Ballot(3, "n2"), 42),
    messages.Promise(
        Ballot(3, "n2"), 42, 0, 41, (Vote(42, Ballot(2, "n1"), Configuration(("n1",), ("n2",))),)
    ),
    messages.Refuse(Ballot(3, "n2"), Ballot(4, "n1")),
    messages.Accept(Ballot(3, "n2"), 42, (b"", b"value", Configuration(("n1", "n2"))), 41),
    messages.Accepted(Ballot(3, "n2"), 42, 45),
    messages.Commit(Ballot(3, "n2"), 44),
    messages.Beat(Ballot(3, "n2"), 7, 44),
    messages.BeatAnswer(Ballot(3, "n2"), 7),
    messages.Fetch(40, 44),
    messages.Supply(40, (b"one", b"two"), 0),
    messages.Query(9),
    messages.Answer(9, 44),
    Forward((b"batch", b"another")),
    Renew(5, ("0123456789abcdef", "fedcba9876543210"), (250, 0)),
    Renewed(5, ("fedcba9876543210",)),
    Digests(((256, b"0123456789abcdef"), (300, b"fedcba9876543210")), ((256, b"0123"),), 2),
    peer.ImageWanted(5, 41, 3, True),
    peer.ImagePiece(5, 3, b"piece", 1000),
    peer.ImageEnd(5, 4, b"checksum"),
    peer.NoImage(5),
    peer.MembersWanted(3, ChangeMembers(Deed.ADD, "n4", "h:4"), True),
    peer.MembersAnswer(3, "EXISTS", "n4 is a member", ("a row",)),
)


NEWER = (peer.MembersWanted, peer.MembersAnswer)
"""Messages that the release before did not know."""
GOLDEN = Path(__file__).resolve().parent


class PeerMessageTests(SynchronousTestCase):
    """What one node says is what the other one hears."""

    def test_every_type(self) -> None:
        """A message of every type arrives as it was sent."""
        self.assertEqual([type(one) for one in EXAMPLES], list(KINDS))
        for message in EXAMPLES:
            self.assertEqual(peer.decode(peer.encode(message)), message)

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(every)
    def test_any_message(self, message: PeerMessage) -> None:
        """A message arrives as it was sent, and says the same bytes again."""
        frame = peer.encode(message)
        self.assertEqual(peer.decode(frame), message)
        self.assertEqual(peer.encode(peer.decode(frame)), frame)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(some.binary(max_size=80))
    def test_junk(self, junk: bytes) -> None:
        """Junk is a ValueError, or a message after all, and nothing else."""
        try:
            message = peer.decode(junk)
        except ValueError:
            return
        self.assertIsInstance(message, KINDS)

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(every, some.data())
    def test_damaged(self, message: PeerMessage, data: some.DataObject) -> None:
        """A message with one byte changed or its tail cut is a message or a ValueError."""
        frame = bytearray(peer.encode(message))
        place = data.draw(some.integers(0, len(frame) - 1))
        if data.draw(some.booleans()):
            frame[place] ^= data.draw(some.integers(1, 255))
        else:
            del frame[place:]
        try:
            self.assertIsInstance(peer.decode(bytes(frame)), KINDS)
        except ValueError:
            return

    def test_empty(self) -> None:
        """An empty frame is no message: links keep such frames to themselves."""
        self.assertRaises(ValueError, peer.decode, b"")

    def test_tags_are_unique(self) -> None:
        """No two types of message share a tag."""
        kinds: list[type[msgspec.Struct]] = [*KINDS, Hello, Refusal]
        tags = [kind.__struct_config__.tag for kind in kinds]
        self.assertEqual(len(set(tags)), len(tags))


def is_longer(new: object, old: object) -> bool:
    """Say whether arrays have at most something appended, at any depth."""
    if not isinstance(old, list):
        return new == old
    assert isinstance(new, list)
    return len(new) >= len(old) and all(map(is_longer, new, old))


class OlderTests(SynchronousTestCase):
    """What the release before wrote, taken down then (``tests/wire/peer.4``)."""

    def test_frames(self) -> None:
        """Each frame is read, and what is written now has at most something appended to it."""
        lines = (GOLDEN / "peer.4").read_text().splitlines()
        for line in lines:
            kind, content = line.split()
            frame = bytes.fromhex(content)
            read: PeerMessage | Hello | Refusal
            if kind in ("Hello", "Refusal"):
                read = peer.decode_greeting(frame)
            else:
                read = peer.decode(frame)
            self.assertEqual(type(read).__name__, kind)
            again = msgspec.msgpack.decode(peer.encode(read))
            self.assertTrue(is_longer(again, msgspec.msgpack.decode(frame)), line)
        self.assertEqual(len(lines), len(KINDS) - len(NEWER) + 2)


class GreetingTests(SynchronousTestCase):
    """The first words on a link."""

    def test_hello(self) -> None:
        """A Hello arrives as it was sent."""
        hello = Hello(1, "cluster", "n1", "n2", 7)
        self.assertEqual(peer.decode_greeting(peer.encode(hello)), hello)

    def test_hello_of_a_later_version(self) -> None:
        """A Hello that says more than ours is understood, so that its version can be refused."""
        known = [
            "coord",
            9,
            "cluster",
            "n1",
            "n2",
            7,
            10,
            "disk",
            "h:1",
            [3, "n2"],
            41,
            64,
            True,
            "h",
        ]
        hello = Hello(
            9, "cluster", "n1", "n2", 7, 10, "disk", "h:1", Ballot(3, "n2"), 41, 64, True, "h"
        )
        frame = msgspec.msgpack.encode([*known, "more", {}])
        self.assertEqual(peer.decode_greeting(frame), hello)

    def test_hello_of_an_earlier_version(self) -> None:
        """A Hello of the release before, which says less, is understood."""
        frame = msgspec.msgpack.encode(["coord", 4, "cluster", "n1", "n2", 7])
        self.assertEqual(peer.decode_greeting(frame), Hello(4, "cluster", "n1", "n2", 7))

    @settings(derandomize=True, deadline=None)
    @given(some.text(max_size=400), some.sampled_from(("", "set back")))
    def test_refusal(self, text: str, why: str) -> None:
        """A Refusal arrives as it was sent, and is known by its first bytes."""
        refusal = Refusal(text, why, 7, Ballot(3, "n2"), 41) if why else Refusal(text)
        frame = peer.encode_refusal(refusal)
        self.assertEqual(peer.decode_greeting(frame), refusal)
        self.assertTrue(peer.is_refusal(frame))

    def test_refusal_of_an_earlier_version(self) -> None:
        """A Refusal that says no more than the release before knew is written as it did."""
        frame = msgspec.msgpack.encode(["refused", "go away"])
        self.assertEqual(peer.encode_refusal(Refusal("go away")), frame)
        self.assertTrue(peer.is_refusal(frame))

    @settings(derandomize=True, deadline=None)
    @given(every)
    def test_messages_are_no_refusals(self, message: PeerMessage) -> None:
        """No message is taken for a Refusal, nor for a Hello."""
        frame = peer.encode(message)
        self.assertFalse(peer.is_refusal(frame))
        self.assertRaises(ValueError, peer.decode_greeting, frame)

    @settings(derandomize=True, deadline=None)
    @given(some.binary(max_size=80))
    def test_junk(self, junk: bytes) -> None:
        """Junk for a greeting is a ValueError and nothing else."""
        try:
            greeting = peer.decode_greeting(junk)
        except ValueError:
            return
        self.assertIsInstance(greeting, (Hello, Refusal))
