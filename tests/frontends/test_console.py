"""The console over SSH: who comes in, what they see, and how it ends."""

from __future__ import annotations

from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from coord.commands import Caller, Lock, OpenSession
from coord.frontends.console import server as console
from coord.frontends.console.words import Words
from tests.frontends.console_case import ConsoleCase, Visit


class ComingIn(ConsoleCase):
    """Keys, and nothing but keys."""

    def test_known(self) -> None:
        """Who has a known key comes in, whatever the name."""
        for user in (b"alice", b"", "bö\x1b".encode()):
            self.assertTrue(self.visit(user=user).sessions.started)

    def test_unknown(self) -> None:
        """Who has another key does not come in, and is never asked for a password."""
        visit = self.visit(self.stranger)
        self.assertFalse(visit.sessions.started)
        self.assertEqual(visit.login.passwords_asked, 0)

    def test_forged(self) -> None:
        """Who shows a known key without having it does not come in."""
        forged = Forger(self.operator, self.stranger)
        visit = Visit(self, b"alice", forged)  # type: ignore[arg-type]
        self.assertFalse(visit.sessions.started)

    def test_principals(self) -> None:
        """A key that is for some names is for nobody else."""
        path = self.folder / "operator.pub"
        path.write_text('restrict,principals="carol,dave" ' + path.read_text())
        self.assertFalse(self.visit(user=b"alice").sessions.started)
        self.assertTrue(self.visit(user=b"dave").sessions.started)

    def test_taken_back(self) -> None:
        """A key that is taken out of the file opens nothing more, without a restart."""
        (self.folder / "operator.pub").write_text("# nobody\n")
        self.assertFalse(self.visit().sessions.started)

    def test_strangers(self) -> None:
        """Those who never show a key give way to others, and are let go after a while."""
        strangers = [self.factory.buildProtocol(None) for _ in range(console.STRANGERS_MAX)]
        transports = [Aborts() for _ in strangers]
        for stranger, transport in zip(strangers, transports, strict=True):
            stranger.transport = transport
        self.factory.buildProtocol(None)
        self.assertEqual([one.aborted for one in transports].count(True), 1)
        self.assertTrue(transports[0].aborted)

    def test_silence(self) -> None:
        """Who says nothing for half a minute is let go."""
        stranger = self.factory.buildProtocol(None)
        transport = Aborts()
        stranger.makeConnection(transport)
        self.clock.advance(console.LOGIN_SECONDS - 1)
        self.assertFalse(transport.aborted)
        self.clock.advance(2)
        self.assertTrue(transport.aborted)

    def test_junk(self) -> None:
        """What is no SSH ends that connection with a line in the log, and nothing else."""
        visit = self.visit()
        visit.server.dataReceived(b"\xff" * 4000)
        visit.go_on()
        self.assertEqual(self.factory.describe().split(":")[0], "console, 0 of 32 connections")
        self.assertTrue(self.visit().sessions.started)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_no_forwarding(self) -> None:
        """Nothing can be forwarded through the console."""
        visit = self.visit()
        channel = visit.session()
        self.assertTrue(channel.is_open)
        channel = type(channel)()
        channel.name = b"direct-tcpip"
        channel.openFailed = lambda reason: None  # type: ignore[method-assign]
        visit.sessions.openChannel(channel)
        visit.go_on()
        self.assertFalse(channel.is_open)

    def test_sessions_max(self) -> None:
        """One connection has so many sessions and no more."""
        visit = self.visit()
        opened = [visit.session() for _ in range(12)]
        self.assertEqual([one.is_open for one in opened].count(True), 10)


class Forger:
    """A key that signs with another one."""

    def __init__(self, shown: Key, used: Key) -> None:
        self._shown = shown
        self._used = used

    def public(self) -> Key:
        """Show the one."""
        public: Key = self._shown.public()
        return public

    def sign(self, content: bytes, signatureType: bytes | None = None) -> bytes:
        """Sign with the other."""
        return self._used.sign(content, signatureType)


class Aborts(StringTransport):
    """A transport that notes its end."""

    aborted = False

    def abortConnection(self) -> None:
        """Take note."""
        self.aborted = True


class Scripts(ConsoleCase):
    """``ssh HOST word``."""

    def test_each_word(self) -> None:
        """Every word that ends by itself prints plain lines and exits with 0."""
        visit = self.visit()
        for word in (
            *("status", "members", "tree", "sessions", "locks"),
            *("slots", "links", "journal", "help"),
        ):
            done = visit.exec(word)
            self.assertEqual((done.status, done.err, done.is_closed), (0, b"", True), word)
            self.assertNotIn(b"\x1b", done.out)
            self.assertTrue(done.out.endswith(b"\n"), word)

    def test_said_both_ways(self) -> None:
        """A word takes what follows as a shell has it, and as Python has it."""
        self.write("/services/web 1", b"up")
        for line in ("tree '/services'", "tree('/services')", "tree(path='/services', limit=5)"):
            self.assertEqual(
                self.visit().exec(line).out.split(b"\n")[0][:15], b"/services/web 1", line
            )

    def test_not_done(self) -> None:
        """What is not done says so on standard error, with status 1 or 2."""
        visit = self.visit()
        for line, status, said in (
            ("tree /nowhere", 1, "NOENT"),
            ("tree nowhere", 1, "BAD_PATH"),
            ("watch /***/[", 0, ""),
            ("watch /a 99999999999999999999", 2, "no number"),
            ("tree / 0", 2, "no number"),
            ("tree / 1 2", 2, "tree('/path'"),
            ("fly", 2, "no word"),
            ("1 + 1", 2, "neither"),
            ("status().lines", 2, "neither"),
            ("tree(__import__('os'))", 2, "cannot be read"),
            ("tree '", 2, "no closing"),
            ("help fly", 2, "no word"),
            ("", 0, ""),
        ):
            done = visit.exec(line)
            if said:
                self.assertEqual((done.status, done.out), (status, b""), line)
                self.assertIn(said, done.err.decode())

    def test_step_down_is_meant(self) -> None:
        """A script has to name the node that it means to step down."""
        visit = self.visit()
        done = visit.exec("step_down")
        self.assertEqual(done.status, 1)
        self.assertIn(b"step_down n1", done.err)
        self.assertEqual(visit.exec("step_down n2").status, 2)
        done = visit.exec("step_down n1")  # it is alone, so nobody could lead instead
        self.assertIn(b"no other voter", done.err)

    def test_end_session_is_meant(self) -> None:
        """An operator ends a session whose client is lost; a script says that it means it."""
        lost = "5f0e9a3c71d2b846"
        holder = Caller("anonymous", "10.0.0.7:1", session=lost)
        coordinator = self.nodes["n1"].coordinator
        coordinator.submit(
            [OpenSession(lost, bytes(32), 86_400_000), Lock("/l")], lambda _: None, holder
        )
        self.advance(0.05)
        visit = self.visit()
        self.assertIn(b"no session", visit.exec("end_session 00").err)
        done = visit.exec(f"end_session {lost}")
        self.assertEqual(done.status, 1)
        self.assertIn(b"0 nodes and 1 locks", done.err)
        self.assertEqual(visit.exec(f"end_session {lost} perhaps").status, 2)
        self.assertEqual(self.visit(self.reader).exec(f"end_session {lost} really").status, 1)
        self.assertIn("/l", [row.path for row in coordinator.locks()])
        self.assertEqual(visit.exec(f"end_session {lost} really").status, 0)
        self.advance(0.05)
        self.assertEqual((coordinator.locks(), coordinator.sessions()), ([], []))

    def test_watch(self) -> None:
        """A watch tells what happens until it is ended, and then leaves nothing behind."""
        visit = self.visit()
        for how in ("signal", "close", "vanish"):
            channel = visit.exec("watch '/a/**'")
            self.assertEqual(self.store.watch_count, 1, how)
            self.write("/a/b", b"one\x1b[2J")
            visit.go_on()
            self.assertIn(b"set /a/b one\\x1b[2J\n", channel.out)
            if how == "signal":
                visit.signal(channel, b"INT")
                self.assertEqual(channel.status, 130)
            elif how == "close":
                visit.sessions.sendClose(channel)
                visit.go_on()
            else:
                visit.vanish()
            self.assertEqual(self.store.watch_count, 0, how)

    def test_watch_from(self) -> None:
        """A watch from a revision on begins there; one from too long ago says so."""
        self.write("/a", b"1")
        channel = self.visit().exec("watch /a 0")
        self.assertIn(b"set /a 1\n", channel.out)

    def test_end_of_input_ends_no_watch(self) -> None:
        """A watch goes on although its standard input is at its end."""
        visit = self.visit()
        channel = visit.exec("watch /a")
        visit.sessions.sendEOF(channel)
        visit.go_on()
        self.write("/a")
        visit.go_on()
        self.assertIn(b"set /a x", channel.out)

    def test_trace(self) -> None:
        """A trace shows the node's own messages and ends without a trace of itself."""
        visit = self.visit()
        channel = visit.exec("trace")
        self.write("/a")
        visit.go_on()
        self.assertIn(b"n1 takes slot", channel.out)
        visit.vanish()
        self.assertFalse(self.subjects.replicator.traces.is_on)

    def test_slow(self) -> None:
        """What a client does not read is not taken from the watch."""
        visit = self.visit()
        channel = visit.session(window=2000)
        visit.sessions.adjustWindow = lambda *given: None  # type: ignore[method-assign]

        visit.sessions.sendRequest(channel, b"exec", NS(b"watch /a"))
        visit.go_on()
        for _ in range(500):
            self.set("n1", "/a", b"y" * 100)
        self.advance(0.1)
        visit.go_on()
        self.assertLessEqual(len(channel.out), 2000)
        service: Any = visit.server.service
        (session,) = service.channels.values()
        self.assertLess(len(session.buf), 40_000)
        del visit.sessions.adjustWindow
        visit.sessions.adjustWindow(channel, 1 << 20)
        visit.go_on()
        self.assertEqual(channel.out.count(b"\n"), 500)

    def test_input_of_words(self) -> None:
        """Without a terminal, a shell reads words; the last one's status is the session's."""
        visit = self.visit()
        channel = visit.shell(terminal=None)
        channel.write(b"members\nfl")
        visit.go_on()
        self.assertEqual(channel.out, b"n1 n1:1 voter up leads (this node)\n")
        channel.write(b"y\n\nmembers")
        visit.sessions.sendEOF(channel)
        visit.go_on()
        self.assertEqual(channel.out.count(b"\n"), 2)
        self.assertIn(b"'fly'", channel.err)
        self.assertEqual((channel.status, channel.is_closed), (0, True))

    def test_much_input(self) -> None:
        """Input without end is refused, not kept."""
        visit = self.visit()
        channel = visit.shell(terminal=None)
        for _ in range(5):
            channel.write(b"x" * 20_000)
            visit.go_on()
        self.assertEqual(channel.status, 2)

    def test_bug(self) -> None:
        """A bug in a word is told and logged, and the node goes on."""

        def broken(words: Words) -> None:
            raise ZeroDivisionError("oh")

        self.patch(Words, "links", broken)
        visit = self.visit()
        broken.__name__ = "links"
        done = visit.exec("links")
        self.assertEqual(done.status, 1)
        self.assertIn(b"this is a bug", done.err)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(visit.exec("status").status, 0)


class Together(ConsoleCase):
    """Several people, long sessions, and ends of all kinds."""

    def test_two(self) -> None:
        """Two people have prompts of their own and see the same node."""
        first, second = self.visit(), self.visit(self.reader, b"bob")
        one, two = first.shell(b"dumb"), second.shell(b"dumb")
        first.type(one, "x = 1\r")
        second.type(two, "watch /a\r")
        self.write("/a")
        second.go_on()
        self.assertIn(b"set /a x", two.out)
        self.assertIn("1", first.type(one, "x\r"))
        self.assertIn("alice bob", self.factory.describe())

    def test_rekeyed(self) -> None:
        """Keys exchanged anew in the midst of a watch lose nothing."""
        visit = self.visit()
        channel = visit.exec("watch /a")
        for number in range(3):
            visit.client.sendKexInit()
            self.write("/a", f"{number}".encode())
            visit.go_on()
        self.assertEqual(channel.out.count(b"set /a"), 3)
        self.assertEqual(visit.exec("status").status, 0)

    def test_vanished(self) -> None:
        """Someone who vanishes in the midst of anything leaves nothing behind."""
        for typed in ("watch('/**')\r", "trace\r", "step_down()\r", "half a li", "x = (\r"):
            visit = self.visit()
            visit.type(visit.shell(), typed)
            visit.vanish()
            self.assertEqual(self.store.watch_count, 0)
            self.assertFalse(self.subjects.replicator.traces.is_on)
        self.write("/a")
        self.assertIn("0 of 32", self.factory.describe())

    def test_node_stops(self) -> None:
        """A node that stops says so and lets everyone go."""
        visit = self.visit()
        visit.type(visit.shell(), "watch('/**')\r")
        self.factory.close_all()
        visit.go_on()
        self.assertEqual(visit.client.lost, "the node stops")
        self.assertEqual(self.store.watch_count, 0)

    def test_log(self) -> None:
        """Every line of the log names the user, the key, and what was typed; no control letter."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            text = formatEvent(event)
            if "onsole" in text or "conch" in str(event.get("log_namespace")):
                lines.append(text)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        visit = self.visit(user=b"alice\n")
        visit.exec("status")
        visit.type(visit.shell(), "'\xc3'\r")
        visit.vanish()
        self.visit(self.stranger, b"mallory")
        path = self.folder / "operator.pub"
        path.write_text('principals="carol" ' + path.read_text())
        self.visit(user=b"mallory")
        for line in lines:
            self.assertRegex(line, r"\Aconsole: (alice\\n \(alice@laptop,|mallory .* key) SHA256:")
            self.assertTrue(line.isprintable(), line)
        for text in ("came in", ": status", "left", "not known", "other user names"):
            self.assertTrue([line for line in lines if text in line], text)
