"""One connection without the connection: who is told what, and what is said to the server."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.client.conversation import Conversation
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.client.rows import Names, Page
from coord.errors import Lagged, NoEntry, TooLate
from coord.events import Event, Kind
from coord.results import Items, Point, Row, Value, Written
from tests.client.test_replies import SAID, spoken
from tests.client.test_requests import COMMANDS


class Conversing(SynchronousTestCase):
    """Requests out, outcomes in."""

    def setUp(self) -> None:
        """Begin."""
        self.conversation = Conversation()

    def ask(self, command: commands.Command) -> Exchange:
        """Ask, and return the exchange."""
        exchange = Exchange(command)
        self.conversation.ask(exchange)
        return exchange

    def watch(self, glob: str, after_rev: int | None = None) -> Exchange:
        """Watch, and return the exchange."""
        exchange = Exchange(commands.Watch(glob, after_rev))
        self.conversation.watch(exchange)
        return exchange

    def sent(self) -> list[bytes]:
        """Return the lines sent since the last call."""
        return self.conversation.take_outbox().splitlines()

    def receive(self, *lines: bytes) -> list[tuple[Exchange, Any]]:
        """Return who is told what by some lines."""
        return self.conversation.receive(b"".join(line + b"\n" for line in lines))

    def test_in_order(self) -> None:
        """Writes and reads go in order, without tags, in one piece, and are told apart."""
        first, second = self.ask(commands.Set("/a", b"x")), self.ask(commands.Get("/a"))
        self.assertEqual(self.sent(), [b"SET /a x", b"GET /a"])
        self.assertEqual(self.conversation.outstanding, 2)
        told = self.receive(b"OK 1", b"VALUE 1 x")
        self.assertEqual(told, [(first, Written(1)), (second, Value(1, b"x"))])
        self.assertEqual(self.conversation.outstanding, 0)

    def test_tagged(self) -> None:
        """What may take long does not hold up the others, and rows may come in between."""
        walk, names = self.ask(commands.Walk("/**")), self.ask(commands.List("/"))
        local, get = self.ask(commands.Get("/a", local=True)), self.ask(commands.Get("/a"))
        self.assertEqual(self.sent(), [b"#1 WALK /**", b"#2 LIST /", b"#3 GET local /a", b"GET /a"])
        told = self.receive(
            b"ERR NOENT no", b"#1 NODE /a 1 {2}\nxy", b"#2 ITEM b%20", b"#3 VALUE 1 x",
            b"#1 NODE /b 2 y", b"#2 END 5", b"#1 END 4",
        )  # fmt: skip
        rows = (Row("/a", 1, b"xy"), Row("/b", 2, b"y"))
        expected = [(get, NoEntry("no")), (local, Value(1, b"x"))]
        expected += [(names, Names(5, ("b ",))), (walk, Page(4, rows))]
        self.assertEqual(told, expected)

    def test_error_within_rows(self) -> None:
        """A walk that fails midway fails, and can be asked again from the start."""
        walk = self.ask(commands.Walk("/**"))
        self.sent()
        told = self.receive(b"#1 NODE /a 1 x", b"#1 ERR TOO_LATE gone")
        self.assertEqual(told, [(walk, TooLate("gone"))])
        self.conversation.ask(walk)
        self.assertEqual(self.receive(b"#2 END 1"), [(walk, Page(1, ()))])

    def test_table(self) -> None:
        """The rows of a table are text."""
        status = self.ask(commands.Status())
        told = self.receive(b"#1 ITEM node=n1", b"#1 ITEM {3}", b"#1 END 7")
        self.assertEqual(told, [(status, Items(7, ("node=n1", "{3}")))])

    def test_watch(self) -> None:
        """A watch is told where it began, then events, then that it is over."""
        watch = self.watch("/w")
        self.assertEqual(self.sent(), [b"#1 WATCH /w"])
        told = self.receive(b"#1 OK 5", b"#1 EVENT 6 set /w x", b"#1 ERR LAGGED slow")
        event = Event(6, Kind.SET, "/w", b"x")
        self.assertEqual(told, [(watch, Point(5)), (watch, event), (watch, Lagged("slow"))])
        self.assertEqual(self.conversation.outstanding, 0)
        self.assertEqual(self.conversation.unanswered(), [])

    def test_leave(self) -> None:
        """A watch that is left hears nothing more, and its glob is free once that is agreed."""
        first, second = self.watch("/w"), self.watch("/w", 3)
        self.receive(b"#1 OK 5", b"#2 OK 3")
        self.sent()
        self.conversation.leave(first)
        third = self.watch("/w", 4)
        self.assertEqual(self.sent(), [b"#3 UNWATCH /w"])
        told = self.receive(b"#1 EVENT 6 del /w", b"#2 EVENT 6 del /w")
        self.assertEqual(told, [(second, Event(6, Kind.DEL, "/w"))])
        ((ended, why),) = self.receive(b"#3 OK 6")
        self.assertEqual((ended, type(why)), (second, Lagged))
        self.assertEqual(self.sent(), [b"#4 WATCH from=4 /w"])
        self.assertEqual(self.receive(b"#4 OK 4"), [(third, Point(4))])

    def test_leave_before_open(self) -> None:
        """A watch that is left before it is open is ended when it is."""
        first = self.watch("/w")
        self.conversation.leave(first)
        self.assertEqual(self.sent(), [b"#1 WATCH /w"])
        self.assertEqual(self.receive(b"#1 OK 5"), [])
        self.assertEqual(self.sent(), [b"#2 UNWATCH /w"])
        self.assertEqual(self.receive(b"#1 EVENT 6 del /w", b"#2 OK 6"), [])
        self.assertEqual(self.conversation.unanswered(), [])

    def test_leave_refused(self) -> None:
        """A watch that was refused meanwhile needs no end."""
        first = self.watch("/w")
        self.conversation.leave(first)
        held = self.watch("/w", 1)
        self.sent()
        self.assertEqual(self.receive(b"#1 ERR OVERLOADED full"), [])
        self.assertEqual(self.sent(), [b"#2 WATCH from=1 /w"])
        self.conversation.leave(held)
        self.receive(b"#2 OK 1")
        self.assertEqual(self.sent(), [b"#3 UNWATCH /w"])

    def test_leave_held(self) -> None:
        """A watch that is left while it waits for its glob is never sent."""
        first = self.watch("/w")
        self.receive(b"#1 OK 1")
        self.conversation.leave(first)
        held = self.watch("/w")
        self.assertIn(held, self.conversation.unanswered())
        self.conversation.leave(held)
        self.sent()
        self.receive(b"#2 OK 1")
        self.assertEqual(self.sent(), [])

    def test_unasked(self) -> None:
        """A reply that nobody asked for, or that fits no request, is junk."""
        for asked, line in (
            (None, b"OK 1"), (None, b"#9 OK"), (commands.Get("/a"), b"OK 1"),
            (commands.Set("/a", b""), b"VALUE 1 x"), (commands.Add("/a", b""), b"OK 1"),
            (commands.Walk("/**"), b"#1 ITEM x"), (commands.List("/"), b"#1 ITEM a/b%2f"),
            (commands.Ping(), b"#1 OK 1"), (commands.List("/"), b"#1 ITEM ..\n#1 END 1"),
            (commands.Watch("/w"), b"#1 EVENT 1 del /w"), (commands.Wait("/w"), b"#1 OK 1"),
        ):  # fmt: skip
            self.conversation = Conversation()
            if isinstance(asked, commands.Watch):
                self.watch(asked.glob)
            elif asked is not None:
                self.ask(asked)
            with self.assertRaises(Junk, msg=line):
                self.receive(line, b"#1 END 1")

    @given(st.lists(COMMANDS, max_size=4), SAID, st.lists(st.binary(), max_size=3))
    def test_anything(self, asked: list[commands.Command], said: Any, noise: list[bytes]) -> None:
        """Whatever comes after whatever was asked is outcomes or junk."""
        conversation = Conversation()
        for command in asked:
            exchange = Exchange(command)
            if isinstance(command, commands.Watch):
                conversation.watch(exchange)
            else:
                conversation.ask(exchange)
        try:
            for chunk in (spoken(said)[1], *noise):
                conversation.receive(chunk)
        except Junk:
            pass
