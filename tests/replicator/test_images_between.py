"""A node that is too far behind for any log gets an image of another node, and goes on from it."""

from __future__ import annotations

from coord.limits import IMAGE_HELD_SECONDS, IMAGE_PIECES_AHEAD
from coord.replicator import imaging
from coord.results import Written
from coord.wire.peer import ImageEnd, ImagePiece, ImageWanted, NoImage
from tests.replicator.case import STEP_SECONDS
from tests.replicator.far_case import FarBehind


class Back(FarBehind):
    """It is back as if it had never been away."""

    def test_has_all(self) -> None:
        """It has what the others have, and takes part: its vote counts."""
        self.miss()
        self.come_back()
        self.same()
        self.assertEqual(self.figure(self.away, "images_adopted"), 1)
        self.hub.isolate(self.other)
        asked = self.set(self.away, "/new")
        self.advance(0.5)
        self.assertIsInstance(asked.results[0], Written)

    def test_settles(self) -> None:
        """The garbage that the old store is now is seen to once the step is done."""
        settled: list[int] = []
        replicator = self.nodes[self.away].replicator
        self.patch(replicator, "_settle", lambda: settled.append(replicator._applier.slot))
        self.miss()
        self.come_back()
        self.assertEqual(len(settled), 1)
        self.assertGreater(settled[0], 60)

    def test_set_back(self) -> None:
        """A node whose disk was set back finds that out by an image, too, and serves no more.

        Most often it gets no link at all; here nobody judges who gets one.
        """
        for _ in range(2):
            self.crash(self.away)
            self.start(self.away)
            self.advance(0.5)
            self.set(self.away, "/here")
            self.advance(0.5)
        self.crash(self.away)
        self.disks[self.away].incarnation = 0
        self.disks[self.away].votes.clear()
        self.disks[self.away].header = None
        self.hub.cut.add(self.away)
        self.hub.is_strict = False
        self.start(self.away)
        self.fill()
        self.come_back()
        self.assertGreater(self.disks[self.away].image_slot, 60)
        self.assertIn("set back", self.fact(self.away, "fault"))
        self.crash(self.away)
        self.start(self.away)
        self.assertIn("set back", self.fact(self.away, "fault"))

    def test_not_from_the_leader(self) -> None:
        """A node that does not lead sends the image, and the leader nothing of it."""
        self.miss()
        self.come_back()
        self.assertEqual(self.figure(self.other, "images_sent"), 1)
        self.assertEqual(self.sent(self.leader(), ImagePiece), [])

    def test_from_the_leader_at_last(self) -> None:
        """Where only the leader is there it sends the image."""
        self.miss()
        self.hub.isolate(self.other)
        self.come_back()
        leader = self.leader()
        self.assertEqual(self.figure(leader, "images_sent"), 1)
        self.assertEqual(self.rev(self.away), self.rev(leader))

    def test_inert(self) -> None:
        """A node whose log is still to be had gets that, and no image."""
        self.hub.isolate(self.away)
        self.fill(3)
        self.come_back()
        self.same()
        for name in self.nodes:
            self.assertEqual(self.sent(name, ImageWanted), [])

    def test_survives_a_crash(self) -> None:
        """What it got is on its disk: a restart goes on from there."""
        self.miss()
        self.come_back()
        rev, digest = self.rev(self.away), self.fact(self.away, "digest")
        self.crash(self.away)
        self.hub.cut.add(self.away)
        self.start(self.away)
        self.assertEqual((self.rev(self.away), self.fact(self.away, "digest")), (rev, digest))

    def test_log_begins_after_it(self) -> None:
        """What it voted for and never knew to be chosen it does not hand on as chosen."""
        self.miss()
        self.come_back()
        disk, journal = self.disks[self.away], self.journals[self.away]
        self.assertEqual(journal.oldest(), disk.image_slot + 1)
        loaded = imaging.load(iter(disk.image), 1000)
        self.assertEqual(loaded.log_begins_at, disk.image_slot + 1)

    def test_crash_before_the_log_was_cut(self) -> None:
        """Were it to crash before that log is cut, the next life cuts it first of all."""
        self.patch(self.journals[self.away], "trim", lambda slot: None)
        self.miss()
        self.come_back()
        self.assertEqual(self.journals[self.away].oldest(), 1)
        self.crash(self.away)
        self.start(self.away)
        self.assertEqual(self.journals[self.away].oldest(), self.disks[self.away].image_slot + 1)

    def test_twice(self) -> None:
        """It may be away for too long again, and images its own store in between."""
        for count in (60, 400):
            self.miss(count, size_bytes=20 * count)
            self.come_back()
            self.fill(30, size_bytes=5000)
            self.nodes[self.other].replicator.images.sending.stop()  # as it does after ten seconds
        self.same()
        self.assertEqual(self.figure(self.away, "images_adopted"), 2)
        self.assertGreater(self.figure(self.away, "images"), 0)

    def test_writes_go_on(self) -> None:
        """While the image is on its way others write, and it has that, too, in the end."""
        self.miss(size_bytes=20_000)
        self.hub.heal(self.away)
        for number in range(100):
            self.set(self.leader(), f"/meanwhile/{number}", b"x" * 500)
            self.advance(STEP_SECONDS)
        self.advance(2.0)
        self.same()

    def test_status(self) -> None:
        """STATUS tells how much of the image is there, and is content."""
        self.miss(count=40, size_bytes=50_000)
        self.hub.heal(self.away)
        told = set()
        while not self.figure(self.away, "images_adopted"):
            self.advance(STEP_SECONDS)
            told.add((self.fact(self.away, "image"), self.fact(self.away, "fault")))
        shares = [int(image[:-1]) for image, _ in told if image != "-"]
        self.assertGreater(len(shares), 4)
        self.assertTrue(all(0 <= share <= 100 for share in shares), shares)
        self.assertEqual({fault for image, fault in told if image != "-"}, {"-"})
        self.assertEqual(self.fact(self.away, "image"), "-")

    def test_votes_and_promises_stay(self) -> None:
        """An acceptor takes nothing back: what it promised it has promised still."""
        replica = self.nodes[self.away].replicator._replica
        promised = replica._acceptor.promised
        self.miss()
        self.come_back()
        self.assertGreaterEqual(replica._acceptor.promised, promised)
        header = self.disks[self.away].header
        assert header is not None
        self.assertGreaterEqual(header.promised, promised)
        self.assertGreaterEqual(header.chosen, self.disks[self.away].image_slot)


class OnTheWay(FarBehind):
    """An image on its way: a few pieces at a time, and nothing is lost with a link."""

    def setUp(self) -> None:
        """Let a node be away for so long that the image has some dozens of pieces."""
        super().setUp()
        self.miss(count=40, size_bytes=50_000)

    def pieces(self) -> list[int]:
        """Return the numbers of the pieces that were sent."""
        return [
            message.piece
            for _, message in self.sent(self.other, ImagePiece)
            if isinstance(message, ImagePiece)
        ]

    def outgoing(self) -> list[bytes]:
        """Return what the sender keeps of the image."""
        sending = self.nodes[self.other].replicator.images.sending
        return [frame for one in sending._outgoing.values() for frame in one._kept]

    def test_little_memory(self) -> None:
        """Neither end ever holds more than a few pieces of 64 KiB."""
        self.hub.heal(self.away)
        receiving = self.nodes[self.away].replicator.images.receiving
        most = 0
        while not receiving.images:
            self.advance(STEP_SECONDS)
            kept = self.outgoing()
            most = max(most, len(kept))
            self.assertLess(max(map(len, kept), default=0), 66 * 1024)
            incoming = receiving._incoming
            if incoming is not None:
                self.assertLessEqual(incoming.piece - incoming.saved, IMAGE_PIECES_AHEAD)
        self.assertEqual(most, IMAGE_PIECES_AHEAD)
        self.assertGreater(len(self.pieces()), 40)
        self.advance(0.1)
        self.assertEqual(self.outgoing(), [])

    def test_each_once(self) -> None:
        """Where nothing is lost each piece is sent once, and in order."""
        self.come_back()
        self.assertEqual(self.pieces(), list(range(len(self.pieces()))))

    def test_one_piece_a_turn(self) -> None:
        """The sender makes one piece at a time, and others have their turn in between."""
        self.hub.heal(self.away)
        while not self.pieces():
            self.advance(STEP_SECONDS)
        before = len(self.pieces())
        self.clock.advance(0)
        self.assertLessEqual(len(self.pieces()), before + 1)

    def test_link_lost(self) -> None:
        """After a lost link the same image goes on where it was."""
        self.hub.heal(self.away)
        while len(self.pieces()) < 20:
            self.advance(STEP_SECONDS)
        self.hub.isolate(self.away)
        self.advance(1.0)
        self.come_back()
        self.same()
        numbers = {
            message.number
            for _, message in self.sent(self.other, ImagePiece)
            if isinstance(message, ImagePiece)
        }
        self.assertEqual(len(numbers), 1)
        self.assertLess(self.pieces().count(0), 2)
        self.assertEqual(self.figure(self.away, "images_adopted"), 1)

    def test_link_lost_for_long(self) -> None:
        """A sender keeps neither picture nor log for one who asks no more."""
        self.hub.heal(self.away)
        while len(self.pieces()) < 20:
            self.advance(STEP_SECONDS)
        replicator = self.nodes[self.other].replicator
        self.assertEqual(len(replicator.store._images), 1)
        self.assertEqual(list(replicator.images.imaging._held), [self.away])
        self.hub.isolate(self.away)
        self.advance(IMAGE_HELD_SECONDS + 0.5)
        self.assertEqual(len(replicator.store._images), 0)
        self.assertEqual(list(replicator.images.imaging._held), [])
        self.come_back()
        self.same()

    def test_sender_crashes(self) -> None:
        """Another node is asked where the sender is no more."""
        self.hub.heal(self.away)
        while len(self.pieces()) < 20:
            self.advance(STEP_SECONDS)
        self.crash(self.other)
        self.advance(8.0)
        self.assertEqual(self.rev(self.away), self.rev(self.leader()))
        self.assertEqual(self.figure(self.leader(), "images_sent"), 1)

    def test_sender_starts_again(self) -> None:
        """A sender that was restarted says that it has that image no more; so a new one is sent."""
        self.hub.heal(self.away)
        while len(self.pieces()) < 20:
            self.advance(STEP_SECONDS)
        self.crash(self.other)
        self.start(self.other)
        self.advance(8.0)
        self.assertTrue(self.sent(self.other, NoImage))
        self.same()

    def test_receiver_crashes(self) -> None:
        """A node that crashes with half an image has what it had before, and asks anew."""
        self.hub.heal(self.away)
        while len(self.pieces()) < 20:
            self.advance(STEP_SECONDS)
        self.crash(self.away)
        self.assertEqual(self.disks[self.away].image_slot, 0)
        self.start(self.away)
        self.advance(2.0)
        self.same()

    def test_crash_when_whole(self) -> None:
        """A node that crashes with a whole image on its disk, not yet gone on from, has it."""
        self.hub.heal(self.away)
        receiving = self.nodes[self.away].replicator.images.receiving
        receiving._adopt = lambda adopted: None
        while not self.disks[self.away].image_slot:
            self.advance(STEP_SECONDS)
        slot = self.disks[self.away].image_slot
        header = self.disks[self.away].header
        assert header is not None
        self.assertLess(header.chosen, slot)
        self.crash(self.away)
        self.start(self.away)
        self.assertGreaterEqual(int(self.fact(self.away, "slot")), slot)
        self.advance(1.0)
        self.same()

    def test_damaged(self) -> None:
        """An image that is not what was sent is not believed, and another one is asked for."""
        receiving = self.nodes[self.away].replicator.images.receiving
        received = receiving.received
        damaged: list[ImageEnd] = []

        def damage(sender: str, message: ImagePiece | ImageEnd | NoImage) -> None:
            if isinstance(message, ImageEnd) and not damaged:
                damaged.append(message)
                message = ImageEnd(message.number, message.piece, b"another")
            received(sender, message)

        self.patch(receiving, "received", damage)
        self.come_back(4.0)
        self.assertEqual(len(damaged), 1)
        self.assertEqual(self.figure(self.away, "images_adopted"), 1)
        self.same()

    def test_sender_too_far_behind(self) -> None:
        """A node that has no log to go on with sends no image either: the next is asked."""
        sending = self.nodes[self.other].replicator.images.sending
        sending.wanted(self.away, ImageWanted(1 << 40, 1000, 0))
        self.assertEqual(self.sent(self.other, NoImage)[-1][1], NoImage(1 << 40))
