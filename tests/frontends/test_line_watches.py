"""WATCH, UNWATCH and WAIT: what is told, when, and when it ends."""

from __future__ import annotations

from coord.errors import Lagged
from coord.events import Event
from coord.frontends.line import LineFactory
from coord.limits import WATCHES_PER_CONNECTION_MAX
from coord.store.machine import Store
from tests.frontends.local import Client
from tests.frontends.test_line import LineCase


class Watches(LineCase):
    """Every change, in order, none missed, none twice."""

    def test_from_now(self) -> None:
        """A watch tells what matches from its OK on, values and deletions."""
        self.client.ask(b"SET /s/a 1\n")
        self.hold("WATCH /s/**\n  OK 1")
        other = self.connect()
        other.ask(b"SET /s/b x y\nSET /t 1\nDEL /s/a\nSET /s/c {1}\n\n\n")
        self.assertEqual(
            self.client.read(),
            b"EVENT 2 set /s/b x y\nEVENT 4 del /s/a\nEVENT 5 set /s/c {1}\n\n\n",
        )

    def test_from_then(self) -> None:
        """With from= what happened since is told first, then what happens."""
        self.client.ask(b"SET /a 1\nSET /a 2\nSET /a 3\n")
        self.hold("#w WATCH from=1 /a\n  #w OK 1\n  #w EVENT 2 set /a 2\n  #w EVENT 3 set /a 3")
        self.hold("SET /a 4\n  OK 4\n  #w EVENT 4 set /a 4")

    def test_catches_up_first(self) -> None:
        """Now is after all that was committed before: the watch begins once that is known."""
        self.coordinator.holding = True
        self.client.send(b"#w WATCH /a\n")
        self.assertEqual(self.client.read(), b"")
        self.coordinator.holding = False
        self.connect().ask(b"SET /a 1\n")
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"#w OK 1\n")

    def test_unwatch(self) -> None:
        """UNWATCH ends the watches written so, frees their tags, and says where nothing was."""
        self.hold("#w WATCH /a/**\n  #w OK 0\n#x WATCH /a/b\n  #x OK 0")
        self.hold("WATCH /a/**\n  OK 0")
        self.hold("UNWATCH /a/**\n  OK 0")
        self.hold("#w SET /a/b 1\n  #w OK 1\n  #x EVENT 1 set /a/b 1")
        self.assertTrue(self.client.ask(b"UNWATCH /a/**\n").startswith(b"ERR NOENT "))
        self.hold("#u UNWATCH /a/b\n  #u OK 1")
        self.hold("#x PING\n  #x OK")

    def test_tag_stays_in_use(self) -> None:
        """The tag of a watch is in use as long as the watch."""
        self.client.ask(b"#w WATCH /a\n")
        self.assertTrue(self.client.ask(b"#w PING\n").startswith(b"#w ERR TAG_IN_USE "))

    def test_reply_before_event(self) -> None:
        """The reply to one's own write comes before the event that it made."""
        self.hold(
            "WATCH /**\n  OK 0\nSET /a 1\n  OK 1\nSET /b 2\n  OK 2\n"
            "  EVENT 1 set /a 1\n  EVENT 2 set /b 2"
        )

    def test_too_late(self) -> None:
        """A watch from a revision that is gone is TOO_LATE, and nothing stays behind."""
        self.coordinator.store = Store(history_revisions=10)
        self.client.ask(b"".join(b"SET /a %d\n" % number for number in range(50)))
        self.assertTrue(self.client.ask(b"#w WATCH from=1 /a\n").startswith(b"#w ERR TOO_LATE "))
        self.hold("#w PING\n  #w OK")

    def test_lagged(self) -> None:
        """A watcher too slow to be kept is told LAGGED, and its watch is over."""
        self.client.ask(b"#w WATCH /a\n")
        (follower,) = self.client.protocol._conversation._followers._all
        assert follower._watch is not None
        watch = follower._watch

        class Slow:
            ready = True

            def take(self, limit: int) -> list[Event]:
                raise Lagged("too slow to be kept: watch again from revision 7")

            def close(self) -> None:
                watch.close()

        follower._watch = Slow()  # type: ignore[assignment]
        self.connect().ask(b"SET /a 1\n")
        self.assertEqual(
            self.client.read(), b"#w ERR LAGGED too slow to be kept: watch again from revision 7\n"
        )
        self.hold("#w PING\n  #w OK")
        self.assertEqual(self.coordinator.store.watch_count, 0)

    def test_stopped(self) -> None:
        """A node that has stopped for good ends its watches, says so once, and begins none."""
        self.hold("WATCH /a\n  OK 0\n#w WATCH /b\n  #w OK 0")
        self.coordinator.stop_serving("this node has stopped serving: removed")
        ended = self.client.read().splitlines()
        refusal = b"ERR UNAVAILABLE this node has stopped serving: removed"
        self.assertEqual(ended, [refusal, b"#w " + refusal])
        self.hold("#w PING\n  #w OK")
        for request in (b"WATCH from=0 /a\n", b"WATCH from=0 diff /a\n", b"WAIT from=0 /a\n"):
            self.assertEqual(self.client.ask(request), refusal + b"\n")
        self.assertTrue(self.client.ask(b"UNWATCH /a\n").startswith(b"ERR NOENT "))
        self.assertEqual(self.coordinator.store.watch_count, 0)

    def test_without_quorum(self) -> None:
        """A node that has only lost the others keeps its watches: it may find them again."""
        self.client.ask(b"#w WATCH /a\n")
        self.coordinator.quorum = False
        self.hold("#v WATCH from=0 /a\n  #v OK 0")
        self.coordinator.quorum = True
        self.hold("SET /a 1\n  OK 1\n  #w EVENT 1 set /a 1\n  #v EVENT 1 set /a 1")

    def test_too_many(self) -> None:
        """One watch too many is OVERLOADED; the others go on."""
        lines = [b"#w%d WATCH /a\n" % number for number in range(WATCHES_PER_CONNECTION_MAX + 1)]
        reply = self.client.ask(b"".join(lines)).splitlines()
        self.assertEqual(sum(b" OK 0" in line for line in reply), WATCHES_PER_CONNECTION_MAX)
        self.assertEqual(sum(b" ERR OVERLOADED " in line for line in reply), 1)
        self.assertEqual(self.client.ask(b"SET /a 1\n").count(b"EVENT"), WATCHES_PER_CONNECTION_MAX)

    def test_many_connections(self) -> None:
        """Everybody who watches is told, though not all in one turn."""
        watchers = [self.connect() for _ in range(200)]
        for watcher in watchers:
            watcher.ask(b"WATCH /a\n")
        self.client.ask(b"SET /a 1\n")
        for watcher in watchers:
            self.assertEqual(watcher.read(), b"EVENT 1 set /a 1\n")


class Differences(LineCase):
    """WATCH diff: how what is there differs, where what happened is no longer known."""

    def setUp(self) -> None:
        """Let history forget what was done to three nodes, one of which is gone now."""
        super().setUp()
        self.coordinator.store = Store(history_revisions=10)
        self.client.ask(b"SET /s/a 1\nSET /s/b 1\nSET /s/gone 1\nDEL /s/gone\nSET /s/b 2\n")
        self.client.ask(b"".join(b"SET /t %d\n" % number for number in range(45)))

    def test_too_late(self) -> None:
        """What changed is a NODE, what did not an ITEM, what is in neither is gone; then events."""
        self.hold("#w WATCH from=3 diff /s/*\n  #w OK 50 diff\n  #w ITEM /s/a\n"
                  "  #w NODE /s/b 5 2\n  #w END 50")  # fmt: skip
        self.hold("DEL /s/a\n  OK 51\n  #w EVENT 51 del /s/a")
        self.hold("UNWATCH /s/*\n  OK 51")
        self.hold("SET /s/a 1\n  OK 52")
        self.hold("#w PING\n  #w OK")

    def test_untagged(self) -> None:
        """So it is without a tag; what was asked behind it is answered after the rows."""
        self.hold(
            "WATCH from=3 diff /s/*\n  OK 50 diff\n  ITEM /s/a\n  NODE /s/b 5 2\n  END 50\n"
            "REV\n  OK 50"
        )
        self.hold("SET /s/b 3\n  OK 51\n  EVENT 51 set /s/b 3")

    def test_early_enough(self) -> None:
        """Where N is recent enough it is a watch like any other."""
        self.hold("#w WATCH diff from=48 /t\n  #w OK 48\n  #w EVENT 49 set /t 43\n"
                  "  #w EVENT 50 set /t 44")  # fmt: skip

    def test_named(self) -> None:
        """Without diff TOO_LATE names the revision to go on from, and that one works."""
        text = self.client.ask(b"WATCH from=3 /s/*\n").decode()
        self.assertTrue(text.startswith("ERR TOO_LATE "), text)
        (named,) = [word for word in text.split() if word.isdigit() and word != "3"]
        self.assertTrue(
            self.client.ask(f"#w WATCH from={named} /s/*\n".encode()).startswith(b"#w OK")
        )

    def test_without_from(self) -> None:
        """A difference is one from a revision: diff alone is BAD_REQUEST."""
        self.assertTrue(self.client.ask(b"#w WATCH diff /s/*\n").startswith(b"#w ERR BAD_REQUEST "))
        self.hold("#w PING\n  #w OK")

    def test_large(self) -> None:
        """Rows are told as the client takes them; no event comes before END, none is missed."""
        value = b"x" * 10_000
        self.client.ask(b"".join(b"SET /s/%d {10000}\n%b\n" % (n, value) for n in range(100)))
        self.client.transport.unsent_max = 0
        self.client.send(b"#w WATCH from=3 diff /s/**\n")
        self.connect().ask(b"SET /s/a 9\n")
        self.client.send(b"UNWATCH /s/**\n")
        self.assertLess(self.client.transport.unsent_max, 300_000)
        lines = [line for line in self.client.read().splitlines() if line[:1] != b"x"]
        self.assertTrue(lines[1].startswith(b"ERR NOENT ") or lines[0] == b"#w OK 150 diff")
        self.assertEqual(lines[-2:], [b"#w END 150", b"#w EVENT 151 set /s/a 9"])
        self.assertEqual(sum(b" NODE " in line for line in lines), 101)

    def test_lost(self) -> None:
        """A connection that is lost amid the rows leaves nothing behind."""
        value = b"x" * 10_000
        self.client.ask(b"".join(b"SET /s/%d {10000}\n%b\n" % (n, value) for n in range(100)))
        self.client.send(b"#w WATCH from=3 diff /s/**\n")
        self.client.protocol.connectionLost()
        self.assertEqual(self.coordinator.store.watch_count, 0)
        self.assertIn(" pictures 0 ", self.coordinator.store.describe())


class Waits(LineCase):
    """The first change, or the end of the time allowed."""

    def test_first_event(self) -> None:
        """A wait tells one event and is over."""
        self.client.send(b"WAIT /a\n")
        self.connect().ask(b"SET /b 0\nSET /a 1\nSET /a 2\n")
        self.assertEqual(self.client.read(), b"EVENT 2 set /a 1\n")
        self.assertEqual(self.coordinator.store.watch_count, 0)

    def test_past_event(self) -> None:
        """With from= it may have happened already."""
        self.client.ask(b"SET /a 1\nSET /a 2\n")
        self.hold("WAIT from=1 /a\n  EVENT 2 set /a 2")
        self.hold("#t WAIT from=0 timeout=1 /a\n  #t EVENT 1 set /a 1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """A wait ends with TIMEOUT after its seconds, not before."""
        self.client.send(b"WAIT timeout=2.5 /a\n#t WAIT timeout=0 /a\n")
        self.assertTrue(self.client.read().startswith(b"#t ERR TIMEOUT "))
        self.clock.advance(2.4)
        self.assertEqual(self.client.read(), b"")
        self.clock.advance(0.2)
        self.assertTrue(self.client.read().startswith(b"ERR TIMEOUT "))
        self.assertEqual(self.coordinator.store.watch_count, 0)
        self.hold("#t PING\n  #t OK")
        self.hold("PING\n  OK")

    def test_stopped(self) -> None:
        """Where the node stops for good a wait is UNAVAILABLE: it cannot know that nothing was."""
        self.client.send(b"WAIT timeout=12 /a\n#t WAIT /a\n")
        self.coordinator.stop_serving("removed")
        self.assertEqual(
            sorted(self.client.read().splitlines()),
            [b"#t ERR UNAVAILABLE removed", b"ERR UNAVAILABLE removed"],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_months(self) -> None:
        """A wait of months ends after months, though no single timer runs so long."""
        self.client.send(b"WAIT timeout=9000000 /a\n")
        for _ in range(104):
            self.clock.advance(86_400)
        self.assertEqual(self.client.read(), b"")
        self.clock.advance(86_400)
        self.assertTrue(self.client.read().startswith(b"ERR TIMEOUT "))

    def test_timeout_while_catching_up(self) -> None:
        """The time allowed includes the time to catch up."""
        self.coordinator.holding = True
        self.client.send(b"WAIT timeout=1 /a\n")
        self.clock.advance(1)
        self.assertTrue(self.client.read().startswith(b"ERR TIMEOUT "))
        self.coordinator.release()
        self.assertEqual((self.client.read(), self.coordinator.store.watch_count), (b"", 0))

    def test_beside(self) -> None:
        """Tagged waits run beside each other and everything else."""
        self.client.send(b"#a WAIT /a\n#b WAIT /b\n")
        self.hold("SET /b 1\n  OK 1\n  #b EVENT 1 set /b 1")
        self.hold("SET /a 1\n  OK 2\n  #a EVENT 2 set /a 1")

    def test_long_history(self) -> None:
        """A wait looks through a long history in pieces, and finds what is at its end."""
        self.client.ask(b"".join(b"SET /a %d\n" % number for number in range(5000)))
        self.client.ask(b"SET /b 1\n")
        self.hold("WAIT from=0 /b\n  EVENT 5001 set /b 1")
        factory = LineFactory(self.clock, self.coordinator)
        client = Client(factory, self.clock)
        self.assertEqual(client.ask(b"WATCH from=0 /b\n"), b"OK 0\nEVENT 5001 set /b 1\n")
