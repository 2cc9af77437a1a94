"""A journal that becomes that of a cluster of one."""

from __future__ import annotations

import contextlib
import random
import sqlite3

from coord.journal.directory import FILE_NAME
from coord.journal.errors import IdentityError, InUseError, JournalError
from coord.journal.offline import open_offline
from coord.journal.recovery import Found
from coord.journal.sqlite import open_journal
from coord.journal.takeover import KEPT_NAME, reach_of, take_over
from coord.limits import ALPHA
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save, Vote
from coord.paxos.effects import Effects
from coord.paxos.membership import Configuration, Governs, Member
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing
from tests.journal.contract import INITIAL, Listener, header, save, votes
from tests.journal.test_sqlite import REACTOR, SqliteTestCase

OTHERS = Configuration(("n1", "n7", "n8"), (), (Member("n7", "h:7", "disk"),))
FIRST = b"the first of the new cluster"


class TakeoverTests(SqliteTestCase):
    """What is left, and what is not."""

    async def fill(self) -> None:
        """Let a node know five slots, and vote for a few more, one of them a configuration."""
        journal = self.open()
        journal.observe(Listener())
        journal.save(save(1, 1, 6, chosen=5))
        undecided = (Vote(6, Ballot(8, "n3"), OTHERS), Vote(8, Ballot(9, "n3"), b"after a gap"))
        journal.save(Save(2, header(5, Ballot(10, "n3")), undecided))
        await journal.close()

    def found(self) -> Found:
        """Read the directory."""
        with open_offline(self.directory) as offline:
            return offline.found

    def take_over(self) -> str:
        """Do it; return the name of the copy."""
        return take_over(
            self.directory, node="n1", cluster="again", address="h:1", value=FIRST
        ).name

    def elected(self) -> tuple[Replica, list[object]]:
        """Start the node's core on what is there; return it once it leads, with what it learnt."""
        durable = self.found().durable
        replica = Replica("n1", durable, Timing(), random.Random(1), 0.0)
        learnt: list[object] = []
        now = 0.0

        def obey(effects: Effects) -> None:
            while True:
                learnt.extend(one.value for one in effects.chosen)
                if effects.save is None:
                    return
                effects = replica.saved(now, effects.save.ticket)

        obey(replica.start(now))
        while not replica.can_read(now) and now < 30.0:
            now += 0.02
            obey(replica.tick(now))
        return replica, learnt

    async def test_what_is_kept(self) -> None:
        """Everything that the node voted for is kept, as is all that it knew to be chosen."""
        await self.fill()
        before = self.found().durable
        self.assertEqual(reach_of(before), 8)
        self.take_over()
        after = self.found().durable
        self.assertEqual([vote for vote in after.votes if vote in before.votes], [*before.votes])
        self.assertEqual(after.header.chosen, 8 + ALPHA)
        self.assertEqual([vote.slot for vote in after.votes], list(range(1, 9 + ALPHA)))
        self.assertGreater(after.header.promised, Ballot(10, "n3"))
        self.assertEqual(after.votes[6].value, b"", "the gap")
        more = after.votes[8:]
        self.assertEqual([vote.value for vote in more], [FIRST, *[b""] * (ALPHA - 1)])

    async def test_whose_it_is(self) -> None:
        """The directory is of the new cluster, on another disk, and the old cluster is refused."""
        journal = self.open()
        disk, cluster = journal.identity.disk, journal.identity.cluster
        await journal.close()
        await self.fill()
        self.take_over()
        with self.assertRaisesRegex(IdentityError, "belongs to cluster again"):
            open_journal(REACTOR, self.directory, node="n1", cluster=cluster, initial=INITIAL)
        again = open_journal(REACTOR, self.directory, node="n1", cluster="again", initial=INITIAL)
        self.addCleanup(again.close)
        self.assertNotIn(again.identity.disk, ("", disk))
        self.assertEqual(again.identity.incarnation, 4)

    async def test_the_copy(self) -> None:
        """The journal as it was is kept, once for each time."""
        await self.fill()
        self.assertEqual(self.take_over(), f"{KEPT_NAME}-1")
        with contextlib.closing(sqlite3.connect(self.directory / f"{KEPT_NAME}-1")) as copy:
            self.assertEqual(copy.execute("SELECT max(slot) FROM log").fetchone(), (8,))
            self.assertNotIn("again", copy.execute("SELECT cluster FROM identity").fetchone())
        self.assertEqual(self.take_over(), f"{KEPT_NAME}-2")

    async def test_refused(self) -> None:
        """A node that runs is refused, and so are another one's directory and an empty one."""
        journal = self.open()
        self.assertRaises(InUseError, self.take_over)
        await journal.close()
        with self.assertRaisesRegex(JournalError, "nothing to recover"):
            self.take_over()
        with self.assertRaisesRegex(IdentityError, "belongs to node n1, not n2"):
            take_over(self.directory, node="n2", cluster="x", address="h:1", value=FIRST)
        self.assertFalse((self.directory / f"{KEPT_NAME}-1").exists())

    async def test_behind_an_image(self) -> None:
        """A node that had just taken an image, and saved nothing since, goes on from that."""
        journal = self.open()
        journal.recover()
        journal.observe(Listener())
        journal.save(save(1, 1, 6, chosen=5))
        image = journal.start_image(40)
        await image.add(b"image")
        await image.finish()
        await journal.close()
        self.take_over()
        durable = self.found().durable
        self.assertEqual((durable.base, durable.header.chosen), (40, 40 + ALPHA))
        self.assertEqual(durable.votes[0], Vote(41, durable.header.promised, FIRST))
        self.assertEqual(list(self.found().image), [b"image"])

    async def test_a_damaged_journal(self) -> None:
        """A journal that is damaged is not made anybody's."""
        await self.fill()
        self.sql("UPDATE log SET content = x'c400' WHERE slot = 3")
        with self.assertRaisesRegex(JournalError, "slot 3"):
            self.take_over()
        self.assertNotEqual(self.sql("SELECT cluster FROM identity"), [("again",)])
        with contextlib.closing(sqlite3.connect(self.directory / FILE_NAME)) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM log").fetchone(), (8,))

    async def test_it_goes_on_alone(self) -> None:
        """The node leads by itself, and all that it had voted for is chosen, in its place."""
        await self.fill()
        self.take_over()
        replica, learnt = self.elected()
        known = [vote.value for vote in votes(1, 6)]
        self.assertEqual(learnt[:9], [*known, OTHERS, b"", b"after a gap", FIRST])
        self.assertEqual(replica.configuration.voters, ("n1",))
        self.assertFalse(replica.is_changing)
        self.assertTrue(replica.is_settled, "members may change at once")
        self.assertEqual(
            replica.governs,
            (Governs(9 + ALPHA, Configuration(("n1",), (), (Member("n1", "h:1"),))),),
        )
        self.assertIsInstance(self.found().durable.header, Header)
