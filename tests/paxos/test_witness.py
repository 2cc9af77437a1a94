"""What nodes remember of each other's disks, and how it is told and kept."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from coord.limits import WITNESS_SECONDS
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Header
from coord.paxos.membership import Configuration, Governs, Member
from coord.paxos.messages import Accept, Accepted, Beat, BeatAnswer
from coord.paxos.witness import Witness, Witnessed
from tests.paxos.net import Net, Parcel

FIRST = Ballot(1, "n1")


class OldHeader(msgspec.Struct, frozen=True, array_like=True):
    """The header as the release before knows it."""

    promised: Ballot = NEVER
    chosen: int = 0
    governs: tuple[Governs, ...] = ()


class OldBeat(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A beat as the release before knows it."""

    ballot: Ballot
    number: int
    chosen: int


class OldAnswer(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """An answer to a beat as the release before knows it."""

    ballot: Ballot
    number: int


class Saying(SynchronousTestCase):
    """What a node says of its disk is on its disk."""

    def test_nothing_to_vote_for(self) -> None:
        """Who votes for nothing, as it is chosen, still saves the ballot that its answer names."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x")
        net.settle()
        later, slot = Ballot(9, "n3"), net["n2"].chosen
        accept = Accept(later, slot, (b"x",), slot)
        effects = net["n2"].step(net.clock("n2"), "n3", accept)
        assert effects.save is not None
        self.assertEqual(effects.save.header.promised, later)
        self.assertEqual(effects.send, ())


class Remembering(SynchronousTestCase):
    """The most that a node was heard to say, and when that is forgotten."""

    def test_most(self) -> None:
        """What was said later takes nothing back, and each piece counts by itself."""
        witness = Witness((), 0.0)
        witness.said("n2", Ballot(3, "n1"), 7)
        witness.said("n2", FIRST, 9)
        witness.said("n2", Ballot(4, "n3"))
        self.assertEqual(witness.of("n2"), Witnessed("n2", Ballot(4, "n3"), 9))
        self.assertEqual(witness.of("n3"), Witnessed("n3"))

    def test_taken_anew(self) -> None:
        """What goes to the disk is taken anew once a second, and is one value until then."""
        witness = Witness((Witnessed("n2", FIRST, 3),), 0.0)
        witness.said("n2", FIRST, 5)
        witness.tick(WITNESS_SECONDS / 2)
        self.assertEqual(witness.known, (Witnessed("n2", FIRST, 3),))
        witness.tick(WITNESS_SECONDS)
        self.assertEqual(witness.known, (Witnessed("n2", FIRST, 5),))

    def test_forgotten(self) -> None:
        """With its disk, or its membership, goes what a node said of it."""
        before = Configuration(
            ("n1", "n2", "n3"), (), (Member("n1", "", "aa"), Member("n2", "", "bb"))
        )
        after = Configuration(("n1", "n4"), ("n2",), (Member("n1", "", "aa"), Member("n2", "")))
        witness = Witness((), 0.0)
        for node in ("n1", "n2", "n3", "n4"):
            witness.said(node, FIRST, 5)
        witness.forget(before, after)
        reaches = [witness.of(node).reach for node in ("n1", "n2", "n3", "n4")]
        self.assertEqual(reaches, [5, 0, 0, 0])

    def test_admitted_anew_before_its_disk_was_known(self) -> None:
        """A voter whose disk no configuration said yet can lose it, and be admitted anew."""
        before = Configuration(("n1", "n2"), (), (Member("n1", ""), Member("n2", "")))
        after = Configuration(("n1",), ("n2",), (Member("n1", ""), Member("n2", "", "", True)))
        witness = Witness((), 0.0)
        for node in ("n1", "n2"):
            witness.said(node, FIRST, 5)
        witness.forget(before, after)
        self.assertEqual([witness.of(node).reach for node in ("n1", "n2")], [5, 0])


class Telling(SynchronousTestCase):
    """What goes round between nodes."""

    def setUp(self) -> None:
        """Have three nodes, and one value chosen."""
        self.net = Net(3)
        self.net.elect("n1")
        self.net.propose("n1", b"first")
        self.net.settle()

    def test_leader(self) -> None:
        """A leader knows what all acceptors, its own too, have on their disks."""
        for name in self.net.members:
            self.assertEqual(self.net["n1"].witness(name), Witnessed(name, FIRST, 1))

    def test_not_before_the_disk(self) -> None:
        """What is not on a disk yet was not said."""
        self.net.hold("n3")
        self.net.propose("n1", b"second")
        self.net.settle()
        self.assertEqual([self.net["n1"].witness(name).reach for name in self.net.members],
                         [2, 2, 1])  # fmt: skip

    def test_everyone(self) -> None:
        """A second later everyone knows it, and never claims more for itself than it has."""
        self.net.elapse(2 * WITNESS_SECONDS)
        for name in self.net.members:
            for other in self.net.members:
                seen = self.net[name].witness(other)
                self.assertEqual((seen.promised, seen.reach), (FIRST, 1))
                self.assertLessEqual(seen.reach, self.net[other].reach)
                self.assertLessEqual(seen.promised, self.net[other].promised)

    def test_kept(self) -> None:
        """It survives a restart, as it rides along with what is saved anyway."""
        self.net.elapse(2 * WITNESS_SECONDS)
        saves = [member.saves for member in self.net.members.values()]
        self.net.elapse(2 * WITNESS_SECONDS)
        self.assertEqual([member.saves for member in self.net.members.values()], saves)
        self.net.propose("n1", b"second")
        self.net.settle()
        for name in tuple(self.net.members):
            self.net.crash(name)
        self.net.restart("n3")
        self.assertEqual(self.net["n3"].witness("n2"), Witnessed("n2", FIRST, 1))

    def test_of_another_disk(self) -> None:
        """Who knows other configurations is not believed: it may speak of a former disk."""
        told = (Witnessed("n2", FIRST, 99),)
        for knowledge in (7, self.net["n3"].knowledge):
            self.assertEqual(self.net["n3"].witness("n2").reach, 0)
            self.net.deliver(Parcel("n1", "n3", Beat(FIRST, 50, 1, told, knowledge)))
        self.assertEqual(self.net["n3"].witness("n2").reach, 99)

    def test_new_disk(self) -> None:
        """When a node is admitted on another disk, all forget what it said of the former."""
        disks = [Member(name, "", f"{name}disk") for name in self.net.members]
        for last in ("n3disk", "other"):
            disks[2] = Member("n3", "", last)
            voters = ("n1", "n2", "n3")
            self.net.reconfigure("n1", Configuration(voters, (), tuple(disks)))
            self.net.settle()
        self.net.deliver(Parcel("n3", "n2", Accepted(FIRST, 1, 2)))
        self.assertEqual(self.net["n2"].witness("n3").reach, 1)
        self.assertEqual(self.net["n1"].witness("n3").reach, self.net["n1"].chosen)

    def test_progress(self) -> None:
        """A leader hears from each node how far it has learnt; others hear nothing."""
        self.net.isolate("n3")
        self.net.propose("n1", b"second", b"third")
        self.net.settle()
        self.net.elapse(0.2)
        progress = self.net["n1"].progress
        self.assertEqual((progress["n2"], progress["n3"]), (3, 0))
        self.assertEqual(self.net["n2"].progress, {})


class Releases(SynchronousTestCase):
    """Between this release and the one before, on disks and on links."""

    def test_new_to_old(self) -> None:
        """What this release writes and says, the one before reads and ignores the rest."""
        seen = (Witnessed("n2", FIRST, 5),)
        header = Header(FIRST, 4, (Governs(1, Configuration(("n1",))),), seen)
        encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
        old = decode(encode(header), type=OldHeader)
        self.assertEqual((old.promised, old.chosen), (FIRST, 4))
        self.assertEqual(decode(encode(Beat(FIRST, 2, 3, seen, 1)), type=OldBeat).chosen, 3)
        self.assertEqual(decode(encode(BeatAnswer(FIRST, 2, 3)), type=OldAnswer).number, 2)

    def test_old_to_new(self) -> None:
        """What the release before wrote and says, this one reads."""
        encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
        self.assertEqual(decode(encode(OldHeader(FIRST, 4)), type=Header), Header(FIRST, 4))
        self.assertEqual(decode(encode(OldBeat(FIRST, 2, 3)), type=Beat), Beat(FIRST, 2, 3))
        self.assertEqual(decode(encode(OldAnswer(FIRST, 2)), type=BeatAnswer), BeatAnswer(FIRST, 2))
