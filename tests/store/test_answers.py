"""At most once, visible: a write that its client has named is answered as the first time."""

from __future__ import annotations

from coord.commands import Add, Delete, Lock, Look, Set, Transaction, Unlock
from coord.errors import Aborted, Exists, NoEntry, NoSession, NotHeld, SessionExpired, TimedOut
from coord.results import Committed, Granted, Opened, Queued, Value, Written
from coord.store import answers, granting, writes
from coord.store.answers import Answers, decoded, encoded
from tests.store.users import UsersTestCase


class OnceTests(UsersTestCase):
    """``id=WORD`` and ``OUTCOME WORD``."""

    def setUp(self) -> None:
        """Open two sessions."""
        super().setUp()
        self.open("s1", "s2")

    def test_once(self) -> None:
        """Sent again it is not done again, whatever was done meanwhile."""
        self.assertEqual(self.once("s1", "w", Set("/a", b"1")), Written(1))
        self.set("/a", b"2")
        self.assertEqual(self.once("s1", "w", Set("/a", b"1")), Written(1))
        self.assertEqual(self.get("/a"), Value(2, b"2"))

    def test_outcome(self) -> None:
        """OUTCOME tells the answer without doing anything."""
        self.refused(self.outcome("s1", "w"), NoEntry)
        self.once("s1", "w", Add("/q/", b"", sequential=True))
        self.assertEqual(self.outcome("s1", "w"), Written(1, "/q/0000000001"))

    def test_each_session(self) -> None:
        """A word means something within its session only."""
        self.once("s1", "w", Set("/a", b"1"))
        self.refused(self.outcome("s2", "w"), NoEntry)
        self.assertEqual(self.once("s2", "w", Set("/a", b"2")), Written(2))

    def test_refused(self) -> None:
        """What was refused stays refused under that name, also where it would be done by now."""
        self.set("/a")
        self.refused(self.once("s1", "w", Add("/a", b"")), Exists)
        self.delete("/a")
        self.assertEqual(self.once("s1", "w", Add("/a", b"")), self.outcome("s1", "w"))
        self.refused(self.outcome("s1", "w"), Exists)
        self.assertEqual(self.walk("/**"), [])

    def test_not_done(self) -> None:
        """What was not done for want of room may be tried again under its name."""
        self.token("s1", "/l")
        self.patch(granting, "LOCK_WAITERS_MAX", 0)
        self.once("s2", "w", Lock("/l", wait_ms=5))
        self.refused(self.outcome("s2", "w"), NoEntry)
        self.unlock("s1", "/l")
        self.assertEqual(self.once("s2", "w", Lock("/l", wait_ms=5)), Granted(3))

    def test_needs_a_session(self) -> None:
        """Without a session there is nothing to remember in."""
        self.refused(self.once("", "w", Set("/a", b"")), NoSession)
        self.refused(self.outcome("", "w"), NoSession)
        self.lapse("s1")
        self.refused(self.once("s1", "w", Set("/a", b"")), SessionExpired)
        self.refused(self.outcome("s1", "w"), SessionExpired)
        self.assertEqual(self.store.rev, 0)

    def test_transaction(self) -> None:
        """A transaction is answered again with all that it read then."""
        self.set("/a", b"1")
        write = Transaction((Look("/a"), Look("/n"), Add("/q/", b"", True), Set("/a", b"2")))
        first = self.once("s1", "w", write)
        assert isinstance(first, Committed)
        self.assertEqual(first.rows[0], Value(1, b"1"))
        self.assertEqual(self.once("s1", "w", write), first)
        self.assertEqual(self.store.rev, 2)

    def test_transaction_too_large(self) -> None:
        """One whose answer could not be remembered is not done at all."""
        self.patch(writes, "OUTCOME_BYTES_MAX", 1000)
        self.set("/a", bytes(600))
        write = Transaction((Set("/b", b""), Look("/a")))
        self.refused(self.once("s1", "w", write), Aborted)
        self.assertEqual(self.do("s1", write), Committed(2, (Value(1, bytes(600)),)))

    def test_lock_that_waits(self) -> None:
        """A lock that was waited for is answered with what became of it."""
        self.token("s1", "/l")
        self.assertEqual(self.once("s2", "w", Lock("/l", wait_ms=5)), Queued(1))
        self.assertEqual(self.once("s2", "again", Lock("/l", wait_ms=5)), Queued(1))
        self.assertEqual(self.outcome("s2", "w"), Queued(1))
        self.unlock("s1", "/l")
        for word in ("w", "again"):
            self.assertEqual(self.outcome("s2", word), Granted(2))
            self.assertEqual(self.once("s2", word, Lock("/l", wait_ms=5)), Granted(2))

    def test_lock_in_vain(self) -> None:
        """So is one that was waited for in vain."""
        self.token("s1", "/l")
        self.once("s2", "w", Lock("/l", wait_ms=5))
        self.lapse(waits=(("/l", "s2", 1),))
        self.refused(self.outcome("s2", "w"), TimedOut)
        self.once("s2", "v", Lock("/l", wait_ms=5))
        self.once("s2", "u", Unlock("/l"))
        self.refused(self.outcome("s2", "v"), NotHeld)
        self.assertEqual(self.outcome("s2", "u"), Written(1))

    def test_moved_to_another_node(self) -> None:
        """Every node remembers, also one that starts from an image."""
        self.token("s1", "/l")
        self.once("s1", "a", Set("/a", b"1"))
        self.once("s1", "b", Delete("/n"))
        self.once("s2", "c", Lock("/l", wait_ms=5))
        self.reload()
        self.assertEqual(self.once("s1", "a", Set("/a", b"1")), Written(2))
        self.refused(self.outcome("s1", "b"), NoEntry)
        self.unlock("s1", "/l")
        self.assertEqual(self.outcome("s2", "c"), Granted(3))


class MemoryTests(UsersTestCase):
    """How much is remembered."""

    def test_oldest_forgotten(self) -> None:
        """Of too many answers the oldest is forgotten first; it would be done again."""
        self.patch(answers, "OUTCOMES_PER_SESSION_MAX", 2)
        self.open("s1")
        for word in ("a", "b", "c"):
            self.once("s1", word, Set("/a", b""))
        self.refused(self.outcome("s1", "a"), NoEntry)
        self.assertEqual(self.outcome("s1", "b"), Written(2))
        self.assertEqual(self.once("s1", "a", Set("/a", b"")), Written(4))

    def test_bytes(self) -> None:
        """The same holds for too large ones; the newest is always kept."""
        self.patch(answers, "OUTCOME_BYTES_MAX", 1000)
        kept = Answers()
        for number in range(5):
            kept.add(str(number), bytes(encoded(Committed(number, ("x" * 300,)))))
        self.assertEqual([word for word, _ in kept.items()], ["3", "4"])
        kept.add("large", encoded(Committed(9, ("x" * 3000,))))
        self.assertEqual([word for word, _ in kept.items()], ["large"])

    def test_asked_again_and_again(self) -> None:
        """To ask for one place under ever new names does not grow for ever."""
        self.patch(answers, "OUTCOMES_PER_SESSION_MAX", 3)
        self.open("s1", "s2")
        self.token("s1", "/l")
        for number in range(50):
            self.once("s2", f"w{number}", Lock("/l", wait_ms=5))
        kept = self.store._state.sessions.live["s2"].answers
        assert kept is not None
        self.assertEqual((len(kept), [len(words) for words in kept._open.values()]), (3, [3]))
        self.unlock("s1", "/l")
        self.assertEqual(self.outcome("s2", "w49"), Granted(2))
        self.refused(self.outcome("s2", "w1"), NoEntry)

    def test_place_that_ends(self) -> None:
        """What came of places in queues counts, too, and is forgotten alike after a restart."""
        self.patch(answers, "OUTCOME_BYTES_MAX", 2000)
        self.open("s1", "s2")
        paths = [f"/{number}{'l' * 300}" for number in range(9)]
        for path in paths:
            self.token("s1", path)
            self.once("s2", path[1], Lock(path, wait_ms=5))
        for path in paths:
            self.lapse(waits=((path, "s2", self.store.place(path, "s2")),))
        self.refused(self.outcome("s2", "0"), NoEntry)
        self.refused(self.outcome("s2", "8"), TimedOut)
        kept = self.store._state.sessions.live["s2"].answers
        assert kept is not None
        words, size_bytes = [word for word, _ in kept.items()], kept._size_bytes
        self.assertLessEqual(size_bytes, 2000)
        self.reload()
        again = self.store._state.sessions.live["s2"].answers
        assert again is not None
        self.assertEqual(
            ([word for word, _ in again.items()], again._size_bytes), (words, size_bytes)
        )

    def test_forms(self) -> None:
        """Every answer comes back as it went in."""
        rows = (Value(1, b"\x00\xff"), NoEntry("é"), "/q/1")
        for answer in (
            Written(3), Written(3, "/é"), Granted(4), Queued(5), Opened("s", 6),
            Committed(7), Committed(7, rows), Exists("/a is there already"),
        ):  # fmt: skip
            self.assertEqual(decoded(encoded(answer)), answer)

    def test_junk(self) -> None:
        """What is no answer is not taken for one."""
        for junk in (b"", b"\x91\x09", b"\x92\x00\xa1x", b"\x93\x03\x01\x91\x01", b"\x01"):
            self.assertRaises(ValueError, decoded, junk)
