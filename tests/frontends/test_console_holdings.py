"""``sessions`` and ``locks``: who holds what, who waits, and who wait for each other."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Level, Lock, OpenSession
from coord.frontends.console.deadlocks import deadlocks, described
from coord.frontends.console.holdings import lock_lines, session_lines
from coord.results import LockPlace, LockRow, SessionRow
from tests.frontends.console_case import ConsoleCase

SINCE_MS = 1_795_154_400_000


def place(session: str, *, shared: bool = False, token: int = 0, lost: bool = False) -> LockPlace:
    """Return a holder (with a token) or a place in line."""
    return LockPlace(
        session=session,
        author=f"{session}@10.0.0.1:5",
        since_ms=SINCE_MS,
        shared=shared,
        token=token or None,
        is_lost=lost,
    )


def lock(path: str, holders: str, queue: str) -> LockRow:
    """Return a lock of sessions with one letter for a name; a capital one shares, ! is lost."""

    def places(letters: str, token: int) -> tuple[LockPlace, ...]:
        return tuple(
            place(one.lower(), shared=one.isupper(), token=token, lost=f"{one}!" in letters)
            for one in letters
            if one != "!"
        )

    return LockRow(path, places(holders, 7), places(queue, 0))


def circles(*locks: LockRow) -> list[str]:
    """Return the deadlocks, each as the sessions on its way, sorted."""
    return ["".join(sorted(wait.session for wait in one)) for one in deadlocks(locks)]


class Deadlocks(SynchronousTestCase):
    """A circle of waiters is found, and nothing else is."""

    def test_two(self) -> None:
        """Two who each wait for what the other holds are a deadlock."""
        self.assertEqual(circles(lock("/x", "a", "b"), lock("/y", "b", "a")), ["ab"])

    def test_three(self) -> None:
        """A circle may go over any number of locks; who waits beside it is not in it."""
        locks = (lock("/x", "a", "bd"), lock("/y", "b", "c"), lock("/z", "c", "a"))
        self.assertEqual(circles(*locks), ["abc"])

    def test_none(self) -> None:
        """A long line, and a chain of locks, are none."""
        self.assertEqual(circles(lock("/x", "a", "bcde"), lock("/y", "b", "cde")), [])

    def test_shared(self) -> None:
        """Who shares waits for no other who shares, but a writer waits for all of them."""
        self.assertEqual(circles(lock("/x", "AB", ""), lock("/y", "B", "A")), [])
        self.assertEqual(circles(lock("/x", "AB", "c"), lock("/y", "c", "b")), ["bc"])

    def test_in_line(self) -> None:
        """Who is before one in line is waited for as well, since nobody passes anybody."""
        self.assertEqual(circles(lock("/x", "A", "bC"), lock("/y", "c", "b")), ["bc"])

    def test_lost(self) -> None:
        """A lost holder goes by itself when its lock-delay is over."""
        self.assertEqual(circles(lock("/x", "a!", "b"), lock("/y", "b", "a")), [])

    def test_two_circles(self) -> None:
        """Circles that have nothing to do with each other are told one by one."""
        locks = (lock("/w", "a", "b"), lock("/x", "b", "a"), lock("/y", "c", "d"))
        self.assertEqual(circles(*locks, lock("/z", "d", "c")), ["ab", "cd"])

    def test_many(self) -> None:
        """Thousands in the line of a lock are looked through in no time."""
        queue = tuple(place(f"s{number}", shared=number % 3 == 0) for number in range(30_000))
        self.assertEqual(deadlocks([LockRow("/x", (place("a", token=3),), queue)]), [])

    def test_words(self) -> None:
        """It is named as what it is: which locks, who waits, and for whom."""
        (circle,) = deadlocks([lock("/x", "a", "b"), lock("/y", "b", "a")])
        self.assertEqual(
            described(circle),
            [
                "DEADLOCK: 2 sessions wait for each other, at /x, /y",
                "  a (a@10.0.0.1:5) waits for /y, held by b",
                "  b (b@10.0.0.1:5) waits for /x, held by a",
            ],
        )


class Lines(SynchronousTestCase):
    """What is shown of sessions and locks."""

    def test_lock(self) -> None:
        """Each holder and each place in line has a line that says all of it."""
        rows = [LockRow("/a b", (place("s", token=9, lost=True),), (place("t", shared=True),))]
        self.assertEqual(
            lock_lines(rows, lambda path: True, 10),
            [
                (
                    "/a b  held  s  s@10.0.0.1:5  since 2026-11-20T06:00:00Z  token 9"
                    "  lost: its lock-delay runs"
                ),
                "/a b  1. in line shared  t  t@10.0.0.1:5  since 2026-11-20T06:00:00Z",
            ],
        )

    def test_some_locks(self) -> None:
        """Of the locks asked for, a deadlock is seen although it goes over others too."""
        rows = [lock("/x", "a", "b"), lock("/y", "b", "a"), lock("/z", "c", "")]
        lines = lock_lines(rows, lambda path: path == "/x", 10)
        self.assertIn("DEADLOCK", lines[0])
        self.assertEqual([line[:2] for line in lines[3:]], ["/x", "/x"])
        self.assertEqual(len(lock_lines(rows, lambda path: path == "/z", 10)), 1)

    def test_most(self) -> None:
        """No more lines than were asked for, and that there are more is said."""
        lines = lock_lines([lock("/x", "a", "bcdef")], lambda path: True, 3)
        self.assertEqual(len(lines), 4)
        self.assertEqual(lines[-1], "... and more")

    def test_session(self) -> None:
        """A session shows who and from where, since when, and what it holds and waits for."""
        row = SessionRow(
            session="5f0e9a3c71d2b846",
            author="web@10.0.0.1:5",
            opened_ms=SINCE_MS,
            timeout_ms=10_500,
            nodes=3,
            locks=tuple(f"/l{number}" for number in range(7)),
            waits=("/w",),
        )
        line, more = session_lines([row, row, row], lambda session: True, 1)
        self.assertEqual(
            line,
            "5f0e9a3c71d2b846  web@10.0.0.1:5  since 2026-11-20T06:00:00Z  timeout 10.5 s"
            "  3 ephemeral  holds /l0 /l1 /l2 /l3 /l4 and 2 more  waits for /w"
            "  attached here",
        )
        self.assertEqual(more, "... and 2 more")


class AtTheConsole(ConsoleCase):
    """The words themselves."""

    def test_none(self) -> None:
        """Where there are none, that is said."""
        visit = self.visit(self.reader)
        self.assertEqual(visit.exec("sessions").out, b"no session is open\n")
        self.assertEqual(visit.exec("locks").out, b"no lock is held\n")

    def test_said(self) -> None:
        """A glob picks locks; a value that is none is misuse; a path cannot move the cursor."""
        rows = [lock("/x\x1b[2J", "a", ""), lock("/y", "b", "")]
        with patch.object(self.subjects.coordinator, "locks", lambda: rows):
            done = self.visit().exec("locks '/x*'")
            self.assertTrue(done.out.startswith(b"/x\\x1b[2J  held  a"), done.out)
            self.assertEqual(len(done.out.splitlines()), 1)
        self.assertEqual(self.visit().exec("locks x").status, 1)
        self.assertEqual(self.visit().exec("sessions 0").status, 2)

    def test_real(self) -> None:
        """Sessions and locks of a real node, and two of them that wait for each other."""
        coordinator = self.subjects.coordinator
        callers = [Caller(who, f"10.0.0.{who}:5", Level.ADMIN, who * 16) for who in "12"]
        for caller, mine in zip(callers, ("/x", "/y"), strict=True):
            writes = (OpenSession(caller.session, b"", 9000), Lock(mine))
            coordinator.submit(writes, lambda _: None, caller)
            self.advance(0.05)
        visit = self.visit(self.reader)
        self.assertNotIn("attached here", visit.exec("sessions").out.decode())
        coordinator.attach(callers[0].session, lambda event: None, own=True)
        self.assertEqual(visit.exec("sessions").out.decode().count("attached here"), 1)
        self.assertIn("1@10.0.0.1:5", visit.exec("sessions").out.decode())
        for caller, wanted in zip(callers, ("/y", "/x"), strict=True):
            coordinator.submit([Lock(wanted, wait_ms=60_000)], lambda _: None, caller)
            self.advance(0.05)
        said = visit.exec("locks").out.decode().splitlines()
        self.assertEqual(said[0], "DEADLOCK: 2 sessions wait for each other, at /x, /y")
        self.assertEqual([line[:2] for line in said[3:]], ["/x", "/x", "/y", "/y"])
        self.assertIn("holds /x  waits for /y", visit.exec("sessions").out.decode())

    def test_completion(self) -> None:
        """Tab knows them."""
        visit = self.visit()
        shell = visit.shell()
        self.assertIn("sessions", visit.type(shell, "sess\t"))
