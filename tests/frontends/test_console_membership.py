"""``member``: an operator changes who the nodes are, and is asked before a vote is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coord.commands import Caller, ChangeMembers, Deed
from coord.errors import BadRequest
from coord.results import Items, Result, Written
from tests.frontends.console_case import ConsoleCase


class Changes(ConsoleCase):
    """A node that takes every change, and answers when the test says so."""

    def setUp(self) -> None:
        """Take what is asked."""
        super().setUp()
        self.asked: list[tuple[ChangeMembers, Callable[[Result], None], Caller]] = []
        coordinator: Any = self.nodes["n1"].coordinator
        self.patch(coordinator, "change_members", lambda *asked: self.asked.append(asked))

    def answer(self, result: Result) -> ChangeMembers:
        """Answer the oldest change."""
        change, answer, _ = self.asked.pop(0)
        answer(result)
        return change

    def test_done(self) -> None:
        """A change that costs nobody's vote is done at once, in the operator's name."""
        visit = self.visit()
        for line, change, said in (
            ("member add n4 h:4", ChangeMembers(Deed.ADD, "n4", "h:4"), b"n4 is a member"),
            (
                "member add n5 h:5 observer",
                ChangeMembers(Deed.ADD, "n5", "h:5", is_observer=True),
                b"--observer",
            ),
            ("member promote n5", ChangeMembers(Deed.PROMOTE, "n5"), b"n5 votes"),
            (
                "member force remove n4",
                ChangeMembers(Deed.REMOVE, "n4", force=True),
                b"n4 is no member",
            ),
        ):
            done = visit.exec(line)
            self.assertEqual((done.status, done.out), (None, b""))
            self.assertTrue(self.asked[0][2].who.startswith("console:"))
            self.assertEqual(self.answer(Written(7)), change)
            visit.go_on()
            self.assertEqual(done.status, 0)
            self.assertIn(said, done.out)

    def test_refused(self) -> None:
        """What the cluster refuses is told as it says it."""
        visit = self.visit()
        done = visit.exec("member add n4 h:4")
        self.answer(BadRequest("2 of 3 needed"))
        visit.go_on()
        self.assertEqual((done.status, done.err), (1, b"BAD_REQUEST: 2 of 3 needed\n"))

    def test_plan(self) -> None:
        """A plan is asked for without a question, and its lines are shown."""
        visit = self.visit()
        done = visit.exec("member plan remove n1")
        self.assertTrue(self.answer(Items(7, ("before", "after"))).plan)
        visit.go_on()
        self.assertEqual((done.status, done.out), (0, b"before\nafter\n"))

    def test_meant(self) -> None:
        """A script has to say that it means it, where a node's vote is lost."""
        visit = self.visit()
        for line in ("member remove n1", "member force replace n1 n4 h:4"):
            done = visit.exec(line)
            self.assertEqual(done.status, 1)
            self.assertIn(f"Say {line} really to mean it.".encode(), done.err)
            self.assertEqual(self.asked, [])
            visit.exec(f"{line} really")
            self.assertEqual(self.answer(Written(7)).node, "n1")

    def test_ask_first(self) -> None:
        """At the prompt it is asked whether a node is to lose its vote; only yes means yes."""
        visit = self.visit()
        channel = visit.shell()
        self.assertIn("of the 0 that are left", visit.type(channel, "member remove n1\r"))
        self.assertIn("nothing was done", visit.type(channel, "n\r"))
        self.assertIn("until it has", visit.type(channel, "member replace n1 n1 h:1\r"))
        self.assertIn("nothing was done", visit.type(channel, "\r"))
        self.assertEqual(self.asked, [])
        visit.type(channel, "member('remove', 'n1')\r")
        self.assertNotIn("n1> ", visit.type(channel, "y\r")[3:])
        self.answer(Written(7))
        self.assertIn("no member any more", visit.type(channel, ""))

    def test_left(self) -> None:
        """Ctrl-C waits no longer; what is answered then is told to nobody."""
        visit = self.visit()
        channel = visit.shell()
        visit.type(channel, "member add n4 h:4\r")
        self.assertNotIn("typed", visit.type(channel, "typed meanwhile"))
        self.assertTrue(visit.type(channel, "\x03").endswith("n1> "))
        self.answer(Written(7))
        self.assertNotIn("n4", visit.type(channel, "1 + 1\r"))

    def test_gone(self) -> None:
        """Who leaves before the answer leaves nothing behind."""
        visit = self.visit()
        visit.type(visit.shell(), "member add n4 h:4\r\x04")
        self.answer(Written(7))
        visit.go_on()

    def test_wrong(self) -> None:
        """What makes no sense is told at once, and a reader's key changes nothing."""
        visit = self.visit()
        for line in ("member", "member n4", "member add n4", "member remove N4", "member really"):
            done = visit.exec(line)
            self.assertEqual((done.status, done.out), (2, b""), line)
            self.assertIn(b"member", done.err)
        self.assertIn(b"DENIED", self.visit(self.reader).exec("member remove n1 really").err)
        self.assertEqual(self.asked, [])
