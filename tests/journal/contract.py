"""The examination that every ``IJournal`` sits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from coord.journal.errors import ClosedError, CorruptionError
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save, Value, Vote
from coord.paxos.membership import Configuration, Governs
from coord.replicator.interfaces import IJournal

INITIAL = (Governs(1, Configuration(("n1", "n2", "n3"))),)
BALLOT = Ballot(7, "n2")
MIB = 1024 * 1024


class Listener:
    """An observer that remembers what it was told, and can be waited for."""

    def __init__(self) -> None:
        self.tickets: list[int] = []
        self.errors: list[Exception] = []
        self._wanted: tuple[int, Deferred[None]] | None = None

    def until(self, ticket: int) -> Deferred[None]:
        """Fire once ``ticket`` is durable, or the disk failed."""
        done: Deferred[None] = Deferred()
        self._wanted = ticket, done
        self._look()
        return done

    def saved(self, ticket: int) -> None:
        """Remember it."""
        self.tickets.append(ticket)
        self._look()

    def failed(self, error: Exception) -> None:
        """Remember it."""
        self.errors.append(error)
        self._look()

    def _look(self) -> None:
        if self._wanted and (self.errors or (self.tickets and self.tickets[-1] >= self._wanted[0])):
            done = self._wanted[1]
            self._wanted = None
            done.callback(None)


def header(chosen: int = 0, ballot: Ballot = BALLOT) -> Header:
    """Return a header that promised ``ballot``."""
    return Header(ballot, chosen, INITIAL)


def votes(first: int, until: int, size_bytes: int = 8) -> tuple[Vote, ...]:
    """Return a vote for each slot from ``first`` to before ``until``."""
    return tuple(Vote(slot, BALLOT, value(slot, size_bytes)) for slot in range(first, until))


def value(slot: int, size_bytes: int = 8) -> bytes:
    """Return the value that `votes` gives ``slot``."""
    return slot.to_bytes(8, "big") + bytes(size_bytes - 8)


def save(ticket: int, first: int, until: int, *, chosen: int = 0, size_bytes: int = 8) -> Save:
    """Return a save of `votes`."""
    return Save(ticket, header(chosen), votes(first, until, size_bytes))


if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object


class JournalContract(_Base):
    """What every journal must do. A subclass says how one is opened."""

    def open(self) -> IJournal:
        """Open a journal on the test's disk, which is new at the test's start."""
        raise NotImplementedError

    async def crash(self, journal: IJournal) -> None:
        """Let go of a journal; nothing that it acknowledged may be lost."""
        raise NotImplementedError

    async def settle(self, journal: IJournal) -> None:
        """Wait until all that was queued is done, or has failed."""
        raise NotImplementedError

    def empty(self) -> None:
        """Put an empty disk, or directory, in the place of the one there is."""
        raise NotImplementedError

    def break_disk(self, journal: IJournal) -> None:
        """Let every later write of ``journal`` fail."""
        raise NotImplementedError

    def start(self) -> tuple[IJournal, Listener]:
        """Open a journal, recover, and listen."""
        journal = self.open()
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        return journal, listener

    async def put(self, journal: IJournal, *saves: Save) -> None:
        """Save and wait."""
        for one in saves:
            journal.save(one)
        await self.settle(journal)

    async def get(
        self, journal: IJournal, slot: int, until: int, size_bytes_max: int = MIB
    ) -> Sequence[Value]:
        """Read and wait."""
        wanted = journal.read(slot, until, size_bytes_max)
        await self.settle(journal)
        return await wanted

    async def image(self, journal: IJournal, slot: int, *pieces: bytes) -> None:
        """Make an image and wait."""
        writer = journal.start_image(slot)
        waiting = [writer.add(piece) for piece in pieces]
        waiting.append(writer.finish())
        await self.settle(journal)
        for one in waiting:
            await one

    # -- saving and recovering ---------------------------------------------------------
    async def test_new(self) -> None:
        """A new journal recovers to the configurations that it was given, and nothing else."""
        journal = self.open()
        found = journal.recover()
        self.assertEqual(found.incarnation, 1)
        self.assertEqual(found.durable.header, Header(governs=INITIAL))
        self.assertEqual((found.durable.votes, found.durable.base), ((), 0))
        self.assertEqual(list(found.image), [])
        self.assertEqual(journal.oldest(), 1)

    async def test_incarnations(self) -> None:
        """Each opening of a journal has a number of its own."""
        for expected in (1, 2, 3):
            journal = self.open()
            self.assertEqual(journal.recover().incarnation, expected)
            await self.crash(journal)

    async def test_disk(self) -> None:
        """A disk keeps its name from opening to opening; another one has another name."""
        journal = self.open()
        name = journal.recover().disk
        await self.crash(journal)
        journal = self.open()
        self.assertEqual(journal.recover().disk, name)
        await self.crash(journal)
        self.empty()
        other = self.open().recover()
        self.assertNotIn(other.disk, ("", name))
        self.assertEqual(other.incarnation, 1)

    async def test_saves_survive(self) -> None:
        """What was acknowledged is there after a crash, ordered by slot."""
        journal, listener = self.start()
        configuration = Configuration(("n1", "n2"), ("n4",))
        odd = (Vote(4, BALLOT, configuration), Vote(3, BALLOT, b""))
        await self.put(journal, save(1, 1, 3), Save(2, header(2), odd))
        self.assertEqual(listener.tickets[-1], 2)
        await self.crash(journal)
        durable = self.open().recover().durable
        self.assertEqual(durable.header, header(2))
        self.assertEqual(durable.votes, (*votes(1, 3), odd[1], odd[0]))

    async def test_last_vote_counts(self) -> None:
        """A later vote for a slot takes the place of an earlier one, in one group or two."""
        journal, _ = self.start()
        later = Ballot(9, "n1")
        await self.put(journal, save(1, 1, 3))
        await self.put(
            journal,
            Save(2, header(), (Vote(2, BALLOT, b"middle"),)),
            Save(3, header(ballot=later), (Vote(2, later, b"last"),)),
        )
        await self.crash(journal)
        durable = self.open().recover().durable
        self.assertEqual(durable.header.promised, later)
        self.assertEqual(durable.votes, (votes(1, 2)[0], Vote(2, later, b"last")))

    async def test_promise_alone(self) -> None:
        """A promise without a vote is kept as well."""
        journal, listener = self.start()
        await self.put(journal, Save(1, header()))
        self.assertEqual(listener.tickets, [1])
        await self.crash(journal)
        self.assertEqual(self.open().recover().durable.header, header())

    async def test_tickets_in_order(self) -> None:
        """Saves queued together are acknowledged in order, the last one at the end."""
        journal, listener = self.start()
        await self.put(journal, *(save(n, n, n + 1) for n in range(1, 100)))
        self.assertEqual(listener.tickets, sorted(set(listener.tickets)))
        self.assertEqual(listener.tickets[-1], 99)

    async def test_gaps_above_chosen(self) -> None:
        """Slots not known to be chosen may be missing; chosen ones may not."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 3, chosen=2), save(2, 5, 6, chosen=2))
        await self.crash(journal)
        journal, _ = self.start()
        await self.put(journal, Save(1, header(4)))
        await self.crash(journal)
        with self.assertRaisesRegex(CorruptionError, "slot 3"):
            self.open().recover()

    # -- reading -----------------------------------------------------------------------
    async def test_read(self) -> None:
        """Values are read back from a slot on, as far as they follow each other."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 10), save(2, 12, 14))
        self.assertEqual(list(await self.get(journal, 3, 5)), [value(3), value(4)])
        self.assertEqual(len(await self.get(journal, 8, 14)), 2)
        self.assertEqual(list(await self.get(journal, 10, 14)), [])
        self.assertEqual(list(await self.get(journal, 0, 5)), [])

    async def test_read_bounded(self) -> None:
        """A read ends before it grows too large, but brings one value at least."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 11, size_bytes=1000))
        self.assertEqual(len(await self.get(journal, 1, 11, 3100)), 3)
        self.assertEqual(list(await self.get(journal, 4, 11, 10)), [value(4, 1000)])

    async def test_read_sees_what_was_saved_before(self) -> None:
        """A read sees every save that was queued before it."""
        journal, _ = self.start()
        journal.save(save(1, 1, 2))
        journal.save(Save(2, header(1), (Vote(1, Ballot(9, "n1"), b"chosen"),)))
        self.assertEqual(list(await self.get(journal, 1, 2)), [b"chosen"])

    # -- images and trimming -----------------------------------------------------------
    async def test_image(self) -> None:
        """The newest whole image is recovered, in order, with the votes above it alone."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 8, chosen=6))
        await self.image(journal, 3, b"old")
        await self.image(journal, 5, b"one", b"two", b"")
        await self.crash(journal)
        found = self.open().recover()
        self.assertEqual(list(found.image), [b"one", b"two", b""])
        self.assertEqual(found.durable.base, 5)
        self.assertEqual(found.durable.votes, votes(6, 8))

    async def test_unfinished_image(self) -> None:
        """An image that was not finished, or abandoned, leaves the older one in force."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 8, chosen=6))
        await self.image(journal, 3, b"whole")
        writer = journal.start_image(4)
        writer.add(b"abandoned")
        writer.abandon()
        writer.abandon()
        journal.start_image(5).add(b"unfinished")
        await self.settle(journal)
        await self.crash(journal)
        journal = self.open()
        found = journal.recover()
        self.assertEqual((list(found.image), found.durable.base), ([b"whole"], 3))
        await self.image(journal, 6, b"next")
        await self.crash(journal)
        found = self.open().recover()
        self.assertEqual((list(found.image), found.durable.base), ([b"next"], 6))

    async def test_image_misuse(self) -> None:
        """There is one image at a time, never an older one, and an ended one stays ended."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 8, chosen=6))
        writer = journal.start_image(5)
        self.assertRaises(ValueError, journal.start_image, 6)
        finished = writer.finish()
        await self.settle(journal)
        await finished
        self.assertRaises(ValueError, writer.add, b"late")
        self.assertRaises(ValueError, writer.finish)
        self.assertRaises(ValueError, journal.start_image, 4)

    async def test_trim(self) -> None:
        """What was trimmed is gone, at once for readers, and after a restart too."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 1000, chosen=900))
        self.assertRaises(ValueError, journal.trim, 2)
        await self.image(journal, 700, b"image")
        self.assertRaises(ValueError, journal.trim, 702)
        journal.trim(650)
        self.assertEqual(journal.oldest(), 650)
        self.assertEqual(list(await self.get(journal, 649, 660)), [])
        self.assertEqual(list(await self.get(journal, 650, 652)), [value(650), value(651)])
        journal.trim(3)
        self.assertEqual(journal.oldest(), 650)
        await self.crash(journal)
        journal = self.open()
        self.assertEqual(len(journal.recover().durable.votes), 299)
        self.assertEqual(journal.oldest(), 650)

    async def test_oldest_of_an_empty_log(self) -> None:
        """Where all is in the image, the log begins behind it."""
        journal, _ = self.start()
        await self.put(journal, save(1, 1, 6, chosen=5))
        await self.image(journal, 5, b"image")
        journal.trim(6)
        await self.settle(journal)
        await self.crash(journal)
        journal = self.open()
        self.assertEqual(journal.recover().durable.votes, ())
        self.assertEqual(journal.oldest(), 6)

    # -- the end -----------------------------------------------------------------------
    async def test_failing_disk(self) -> None:
        """A failure is told once; nothing is acknowledged after it, and what waits fails."""
        journal, listener = self.start()
        await self.put(journal, save(1, 1, 2))
        self.break_disk(journal)
        journal.save(save(2, 2, 3))
        journal.save(save(3, 3, 4))
        added = journal.start_image(1).add(b"piece")
        await self.settle(journal)
        with self.assertRaises(Exception) as caught:
            await added
        journal.save(save(4, 4, 5))
        with self.assertRaises(type(caught.exception)):
            await self.get(journal, 1, 2)
        await journal.close()
        self.assertEqual((listener.tickets, len(listener.errors)), ([1], 1))
        self.assertEqual(self.open().recover().durable.votes, votes(1, 2))

    async def test_close(self) -> None:
        """Closing finishes what is queued; afterwards nothing is taken, and reads fail."""
        journal, listener = self.start()
        for n in range(1, 50):
            journal.save(save(n, n, n + 1))
        await journal.close()
        self.assertEqual(listener.tickets[-1], 49)
        journal.save(save(50, 50, 51))
        with self.assertRaises(ClosedError):
            await journal.read(1, 2, 10)
        with self.assertRaises(ClosedError):
            await journal.start_image(0).add(b"piece")
        await journal.close()
        self.assertEqual(self.open().recover().durable.votes, votes(1, 50))
