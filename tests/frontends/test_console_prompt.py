"""The console's prompt: a person at a terminal, with conch's own client at the far end."""

from __future__ import annotations

from coord.frontends.console import python
from tests.frontends.console_case import ConsoleCase


class AtThePrompt(ConsoleCase):
    """A person at a terminal."""

    def test_greeting(self) -> None:
        """It greets with what one can do."""
        channel = self.visit().shell()
        for text in (b"n1 of cluster-1", b"status members tree", b"Ctrl-C", b"Python", b"n1> "):
            self.assertIn(text, channel.out)

    def test_words(self) -> None:
        """Words work bare, called, and with what follows as in a shell."""
        visit = self.visit()
        channel = visit.shell(b"dumb")
        for typed in ("members", "members()", "help members", "print(members)"):
            self.assertIn(
                "the cluster as" if "help" in typed else "voter up",
                visit.type(channel, typed + "\r").lower(),
            )

    def test_colour(self) -> None:
        """There is colour where the terminal has it and nobody objects."""
        visit = self.visit()
        for terminal, env, has in (
            (b"xterm", (), True),
            (b"dumb", (), False),
            (b"xterm", (b"NO_COLOR",), False),
        ):
            channel = visit.shell(terminal, env=env)
            self.assertEqual("\x1b[1;36m" in visit.type(channel, "status\r"), has)

    def test_python(self) -> None:
        """Any other line is Python, over the node's own objects."""
        visit = self.visit()
        channel = visit.shell()
        self.assertIn("42", visit.type(channel, "6 * 7\r"))
        visit.type(channel, "def f():\r  return store.rev\r\r")
        self.assertIn(str(self.store.rev), visit.type(channel, "f()\r"))
        self.assertIn("ZeroDivisionError", visit.type(channel, "1 / 0\r"))
        self.assertIn("SyntaxError", visit.type(channel, "def\r"))
        self.assertIn("['n1 ", visit.type(channel, "[line for line in members()]\r"))

    def test_deferred(self) -> None:
        """A Deferred is shown when it fires, between what is being typed."""
        visit = self.visit()
        channel = visit.shell()
        visit.type(channel, "from twisted.internet.defer import Deferred; d = Deferred()\r")
        self.assertIn("<Deferred #0>", visit.type(channel, "d\r"))
        visit.type(channel, "half")
        said = visit.type(channel, "\x15d.callback(3)\r")
        self.assertIn("called back: 3", said)

    def test_traps(self) -> None:
        """What would stop the node, or have it wait, does neither."""
        visit = self.visit()
        channel = visit.shell()
        self.assertIn("RuntimeError", visit.type(channel, "input()\r"))
        self.assertIn("RuntimeError", visit.type(channel, "breakpoint()\r"))
        self.patch(python, "LINE_SECONDS_MAX", 0.05)
        self.assertIn("may hold the node", visit.type(channel, "while True: pass\r\r"))
        visit.type(channel, "raise SystemExit\r")
        self.assertEqual((channel.status, channel.is_closed), (0, True))
        self.assertEqual(visit.exec("status").status, 0)

    def test_leaving(self) -> None:
        """Ctrl-D, exit, and quit leave; Ctrl-D in the midst of a line does not."""
        visit = self.visit()
        for typed in ("\x04", "exit\r", "exit()\r", "quit\r"):
            channel = visit.shell()
            visit.type(channel, "x\x04")
            self.assertFalse(channel.is_closed)
            visit.type(channel, "\x15" + typed)
            self.assertEqual((channel.status, channel.is_closed), (0, True), typed)

    def test_interrupt(self) -> None:
        """Ctrl-C begins a line anew, and leaves what was half typed."""
        visit = self.visit()
        channel = visit.shell()
        visit.type(channel, "x = (\r1, 2\x03")
        self.assertIn("3", visit.type(channel, "1 + 2\r"))

    def test_watch(self) -> None:
        """Ctrl-C ends a watch and gives the prompt back; nothing of the watch is left."""
        visit = self.visit()
        channel = visit.shell(b"dumb")
        said = visit.type(channel, "watch('/a')\r")
        self.assertIn("Ctrl-C ends it", said)
        self.assertFalse(said.endswith("n1> "))
        self.write("/a", b"one")
        self.assertIn("set /a one", visit.type(channel, "typed meanwhile\r"))
        self.assertTrue(visit.type(channel, "\x03").endswith("n1> "))
        self.assertEqual(self.store.watch_count, 0)
        visit.type(channel, "w = watch('/a')\r")
        self.assertEqual(self.store.watch_count, 0)
        visit.type(channel, "w\r")
        self.assertEqual(self.store.watch_count, 1)
        visit.type(channel, "\x04")
        self.assertEqual((self.store.watch_count, channel.is_closed), (0, True))

    def test_ask_first(self) -> None:
        """To step down is asked about, and only yes means yes."""
        visit = self.visit()
        channel = visit.shell()
        self.assertIn("[y/N]", visit.type(channel, "step_down()\r"))
        self.assertIn("nothing was done", visit.type(channel, "\r"))
        visit.type(channel, "step_down\r")
        self.assertIn("no other voter", visit.type(channel, "y\r"))
        visit.type(channel, "step_down\r")
        self.assertIn("^C", visit.type(channel, "\x03"))
        self.assertIn("2", visit.type(channel, "1 + 1\r"))

    def test_completion(self) -> None:
        """Tab completes words, names and paths."""
        self.write("/services/web")
        self.write("/services/db")
        visit = self.visit()
        channel = visit.shell(b"dumb")
        self.assertIn("status", visit.type(channel, "stat\t"))
        visit.type(channel, "\x15")
        self.assertIn("/services", visit.type(channel, "tree('/serv\t"))
        said = visit.type(channel, "/\t")
        self.assertIn("/services/db", said)
        self.assertIn("/services/web", said)
        self.assertIn("/services/web", visit.type(channel, "w\t')\r"))
        self.assertIn("step_down", visit.type(channel, "\t"))
        self.assertIn("store.horizon", visit.type(channel, "store.hor\t"))

    def test_editing(self) -> None:
        """Letters of every language, arrows, and the history of lines."""
        visit = self.visit()
        channel = visit.shell()
        self.assertIn("'grüße'", visit.type(channel, "'grße'\x1b[D\x1b[D\x1b[Dü\r"))
        self.assertIn("'grüße'", visit.type(channel, "\x1b[A\r"))
        self.assertIn("5", visit.type(channel, "4\x7f5\r"))
        self.assertIn("13", visit.type(channel, "3\x011\x05\r"))
        self.assertIn("1", visit.type(channel, "12\x1b[D\x0b\r"))

    def test_window(self) -> None:
        """A window that changes its size disturbs nothing, whatever the size."""
        visit = self.visit()
        channel = visit.shell()
        visit.type(channel, "1 +")
        before = channel.out
        for columns, rows in ((132, 50), (0, 0), (1, 1)):
            visit.resize(channel, columns, rows)
        self.assertEqual(channel.out, before)
        visit.type(channel, "\x15\t")
        self.assertFalse(channel.is_closed)

    def test_reader(self) -> None:
        """A reader gets the words and no Python, and changes nothing."""
        visit = self.visit(self.reader)
        channel = visit.shell(b"dumb")
        self.assertIn("voter up", visit.type(channel, "members()\r"))
        for typed in ("6 * 7", "().__class__", "tree(open('x'))", "import os"):
            said = visit.type(channel, f"{typed}\r").replace(typed, "")
            self.assertNotIn("42", said)
            self.assertRegex(said, "neither a word|cannot be read|no word")
        self.assertIn("DENIED", visit.type(channel, "step_down()\r"))
        self.assertEqual(visit.exec("step_down n1").status, 1)
        visit.type(channel, "exit\r")
        self.assertTrue(channel.is_closed)
