"""Transactions: all or nothing, at one revision."""

from __future__ import annotations

from coord.commands import Add, Caller, Check, Delete, Look, Revert, Set, Transaction
from coord.errors import Aborted, Denied, IsDirectory, NoEntry, TooLarge, TooLate
from coord.events import Event, Kind
from coord.results import Committed, Value, Written
from coord.store import writes
from coord.store.news import Lifetime, PlaceOver
from tests.store.users import UsersTestCase


class TogetherTests(UsersTestCase):
    """What is done together is done at one revision."""

    def test_one_revision(self) -> None:
        """All changes make one revision, with one event for each node, in path order."""
        self.set("/old")
        result = self.together(Set("/z", b"1"), Add("/a/b", b"2"), Delete("/old"), Set("/z", b"3"))
        self.assertEqual(result, Committed(2))
        self.assertEqual(
            self.events(1),
            [
                Event(2, Kind.SET, "/a/b", b"2"),
                Event(2, Kind.DEL, "/old"),
                Event(2, Kind.SET, "/z", b"3"),
            ],
        )

    def test_in_order(self) -> None:
        """Each line sees what those before it did."""
        result = self.together(
            Set("/a", b"1"), Look("/a"), Delete("/a"), Look("/a"), Set("/a/b", b"2"), Look("/a")
        )
        assert isinstance(result, Committed)
        first, second, third = result.rows
        self.assertEqual((result.rev, first), (1, Value(1, b"1")))
        self.assertIsInstance(second, NoEntry)
        self.assertIsInstance(third, IsDirectory)

    def test_nothing(self) -> None:
        """One line fails, and nothing is changed; that line names itself."""
        self.set("/a", b"1")
        result = self.together(Set("/x", b""), Set("/a", b"2", 0), Delete("/nothing"))
        text = self.refused(result, Aborted)
        self.assertEqual(text, "2 REV_MISMATCH /a was last changed at revision 1")
        self.assertEqual((self.store.rev, self.walk("/**")), (1, ["/a"]))

    def test_every_failure(self) -> None:
        """Whatever a line alone would be refused for aborts all."""
        self.set("/a/b")
        for part, code in (
            (Delete("/a"), "NOTEMPTY"),
            (Add("/a/b", b""), "EXISTS"),
            (Delete("/n"), "NOENT"),
            (Set("/ctl/x", b""), "DENIED"),
            (Set("/e", b"", ephemeral=True), "NO_SESSION"),
            (Check("/a/b", if_rev=0), "REV_MISMATCH"),
            (Check("/n", if_rev=1), "NOENT"),
            (Check("/a/b", token=1), "NOT_HELD"),
        ):
            text = self.refused(self.together(Set("/x", b""), part), Aborted)
            self.assertEqual(text.split()[:2], ["2", code])
        self.assertEqual(self.store.rev, 1)

    def test_reads_do_not_fail(self) -> None:
        """A read of what is not there is answered, and the rest is done."""
        result = self.together(Look("/n"), Set("/a", b""))
        assert isinstance(result, Committed)
        self.assertIsInstance(result.rows[0], NoEntry)
        self.assertEqual(result.rev, 1)

    def test_no_change(self) -> None:
        """One that changes nothing makes no revision and tells that of what it saw."""
        self.set("/a", b"1")
        result = self.together(Check("/a", if_rev=1), Look("/a"))
        self.assertEqual(result, Committed(1, (Value(1, b"1"),)))
        self.assertEqual(self.together(), Committed(1))

    def test_check(self) -> None:
        """CHECK if=N holds where the node has not changed after N; if=0 where there is none."""
        self.set("/a")
        self.assertEqual(self.together(Check("/a", if_rev=1), Set("/b", b"")), Committed(2))
        self.assertEqual(self.together(Check("/c", if_rev=0), Set("/c", b"")), Committed(3))
        self.refused(self.together(Check("/c", if_rev=0), Set("/d", b"")), Aborted)

    def test_sequences(self) -> None:
        """Numbered children are made in order, and the answer names them."""
        result = self.together(
            Add("/q/", b"1", sequential=True), Add("/q/", b"2", sequential=True), Add("/p", b"")
        )
        self.assertEqual(result, Committed(1, ("/q/0000000001", "/q/0000000002")))

    def test_sequence_not_used(self) -> None:
        """What was aborted has used no number; what was deleted again has."""
        self.refused(self.together(Add("/q/", b"", sequential=True), Delete("/n")), Aborted)
        self.together(Add("/q/", b"", sequential=True), Delete("/q/0000000001"))
        self.assertEqual(self.add("/q/", b"", True), Written(self.store.rev, "/q/0000000002"))

    def test_moved(self) -> None:
        """A node may be moved: deleted here and made there, at one instant."""
        self.set("/jobs/1", b"x")
        self.together(Check("/jobs/1", if_rev=1), Delete("/jobs/1"), Add("/done/1", b"x"))
        self.assertEqual(self.walk("/**"), ["/done/1"])
        self.assertEqual(self.names("/"), ["done"])

    def test_lost_and_parent(self) -> None:
        """Where a node went and came back only as a parent, its loss is told once."""
        self.set("/a", b"1")
        self.together(Delete("/a"), Set("/a/b", b"2"))
        self.assertEqual(
            self.events(1), [Event(2, Kind.DEL, "/a"), Event(2, Kind.SET, "/a/b", b"2")]
        )
        self.refused(self.get("/a"), IsDirectory)
        self.assertEqual((self.facts("/a").created, self.facts("/a").version), (2, 0))
        self.reload()
        self.assertEqual(len(self.events(1)), 2)

    def test_trees(self) -> None:
        """A tree that was only just made can be deleted again."""
        self.set("/t/old")
        result = self.together(
            Set("/t/new/x", b""), Set("/t/new/y", b""), Delete("/t", tree=True), Set("/t/z", b"")
        )
        self.assertEqual(result, Committed(2))
        self.assertEqual(self.walk("/**"), ["/t/z"])

    def test_ephemeral_and_mortal(self) -> None:
        """Nodes made together are owned and counted down as others are."""
        self.open("s1")
        self.together(Set("/e", b"", ephemeral=True), Set("/m", b"", ttl_ms=50), session="s1")
        self.assertEqual(self.news(Lifetime), [Lifetime("/m", 1, 50)])
        self.end("s1")
        self.assertEqual(self.walk("/**"), ["/m"])

    def test_rules(self) -> None:
        """Rules of access are changed with the rest, and hold from the next write on."""
        self.together(Set("/ctl/acl", b"* read /**"), Set("/a", b""))
        self.refused(self.together(Set("/ctl/acl", b"no rule at all, this")), Aborted)
        self.assertEqual(self.get("/ctl/acl"), Value(1, b"* read /**"))

    def test_too_long(self) -> None:
        """It has so many lines and no more, and is answered with so much and no more."""
        self.patch(writes, "TRANSACTION_PARTS_MAX", 2)
        self.refused(self.together(*[Look("/a")] * 3), TooLarge)
        self.set("/a", bytes(1000))
        transaction = Transaction((Set("/b", b""), Look("/a")))
        caller = Caller()
        writer = self.store._writes[Transaction].__self__  # type: ignore[attr-defined]
        result = writer.transaction(transaction, 1, caller, 900)
        self.assertIn("2 TOO_LARGE", self.refused(result, Aborted))
        self.assertEqual(self.walk("/**"), ["/a"])


class LockedTests(UsersTestCase):
    """A write can be bound to a lock that is still held."""

    def setUp(self) -> None:
        """Let s1 hold a lock."""
        super().setUp()
        self.open("s1", "s2")
        self.token("s1", "/l", b"1")

    def test_token(self) -> None:
        """CHECK token=N holds as long as that very grant does, whoever asks."""
        work = Set("/job", b"done")
        self.assertEqual(self.together(Check("/l", token=1), work, session="s2"), Committed(2))
        self.refused(self.together(Check("/l", token=2), work), Aborted)
        self.unlock("s1", "/l")
        self.refused(self.together(Check("/l", token=1), work), Aborted)
        self.token("s1", "/l")
        self.refused(self.together(Check("/l", token=1), work), Aborted)

    def test_lost_holder(self) -> None:
        """The token of a holder that was lost is worth nothing, also during its lock-delay."""
        self.lock("s2", "/m", delay_ms=1000)
        self.assertEqual(self.together(Check("/m", token=2)), Committed(2))
        self.lapse("s2")
        self.refused(self.together(Check("/m", token=2)), Aborted)

    def test_given_up_within(self) -> None:
        """A holder may give its lock up at the end of its work."""
        parts = (Check("/l", token=1), Set("/job", b""), Delete("/l"))
        self.assertEqual(self.together(*parts, session="s1"), Committed(2))
        self.assertEqual((self.walk("/**"), self.store.locks()), (["/job"], []))

    def test_given_up_then(self) -> None:
        """From that line on the lock is not the caller's any more."""
        for part in (Check("/l", token=1), Delete("/l")):
            self.refused(self.together(Delete("/l"), part, session="s1"), Aborted)
        self.assertEqual(self.holders("/l"), ("s1",))
        self.together(Delete("/l"), Set("/l", b"free"), session="s1")
        self.assertEqual((self.get("/l"), self.store.locks()), (Value(2, b"free"), []))

    def test_handed_over_within(self) -> None:
        """Where somebody waits it is theirs from that line on, and from that revision."""
        self.place("s2", "/l", b"2")
        self.refused(self.together(Delete("/l"), Set("/l", b"x"), session="s1"), Aborted)
        self.assertEqual((self.holders("/l"), self.news(PlaceOver)), (("s1",), []))
        parts = (Set("/l", b"x"), Delete("/l"), Look("/l"))
        self.assertEqual(self.together(*parts, session="s1"), Committed(2, (Value(2, b"2"),)))
        self.assertEqual((self.holders("/l"), self.facts("/l").token), (("s2",), 2))

    def test_aborted(self) -> None:
        """An aborted one has given up nothing, and left the holder's value alone."""
        self.place("s2", "/l", b"2")
        parts = (Set("/l", b"x"), Delete("/l"), Delete("/n"))
        self.refused(self.together(*parts, session="s1"), Aborted)
        self.assertEqual((self.holders("/l"), self.get("/l")), (("s1",), Value(1, b"1")))
        self.assertEqual(self.facts("/l").waiting, 1)

    def test_others(self) -> None:
        """What others have locked is locked within, too."""
        for part in (Set("/l", b""), Delete("/l")):
            text = self.refused(self.together(part, session="s2"), Aborted)
            self.assertEqual(text.split()[:2], ["1", "LOCKED"])


class RevertTests(UsersTestCase):
    """REVERT is a SET of what the node once held."""

    def test_set_back(self) -> None:
        """The value comes back at a new revision, if the condition holds."""
        self.set("/a", b"1")
        self.set("/a", b"2")
        self.assertEqual(self.do("", Revert("/a", 1, 2, b"1")), Written(3))
        self.assertEqual(self.get("/a"), Value(3, b"1"))
        self.do("", Revert("/a", 1, 2, b"1"))
        self.assertEqual(self.store.rev, 3)

    def test_not_looked_up(self) -> None:
        """How much history is kept differs from node to node: no node looks it up by itself."""
        self.set("/a", b"1")
        self.refused(self.do("", Revert("/a", 1)), TooLate)

    def test_why_not(self) -> None:
        """Where there was nothing to set back, it is refused as a GET was."""
        for refusal in (NoEntry, IsDirectory, Denied, TooLate):
            revert = Revert("/a", 1, refusal=refusal.code)
            self.refused(self.do("", revert), refusal)
