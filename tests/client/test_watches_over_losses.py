"""Watches that outlive their servers: no event missed, none twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coord import commands
from coord.client import Difference, NoServer
from coord.errors import TimedOut, TooLate, Unavailable
from coord.limits import (
    CLIENT_EVENTS_MAX,
    CLIENT_QUORUM_SECONDS,
    CLIENT_REFRESH_REVISIONS,
    CLIENT_REFRESH_SECONDS,
    CLIENT_SILENCE_SECONDS,
)
from coord.paths import Glob
from tests.client.case import ClientCase

STEPS = ["write", "tree", "drop", "swap", "take", "time"]


class Resumed(ClientCase):
    """A watch goes on where it was."""

    def write(self, path: str = "/w", count: int = 1) -> None:
        """Write by way of the second server, whose clients are told at once."""
        for _ in range(count):
            self.perform(commands.Set(path, b""))

    def perform(self, *writes: commands.Write) -> None:
        """Do writes in one turn."""
        self.second.coordinator.perform(writes, lambda _: None)

    def test_server_lost(self) -> None:
        """What happens while no server is connected is told by the next."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.write(count=2)
        self.assertEqual(self.events(watch, 1), [1])
        self.first.kill()
        self.write(count=3)
        self.advance(1)
        self.assertEqual(self.events(watch, 4), [2, 3, 4, 5])
        self.assertEqual(len(self.second.connections), 1)

    def test_within_a_revision(self) -> None:
        """A connection that ends between two events of one revision leaves neither out."""
        for name in "abcd":
            self.write(f"/t/{name}")
        watch = self.client.watch("/t/**")
        self.now(watch.opened())
        (wire,) = self.first.connections
        wire.far.is_frozen = True
        self.perform(commands.Delete("/t", tree=True))
        self.clock.advance(0)
        line = b"EVENT 5 del /t/b\n"
        del wire.far.inbox[wire.far.inbox.index(line) + len(line) :]
        wire.far.is_frozen = False
        wire.far.deliver()
        self.assertEqual(self.now(watch.next()).path, "/t/a")
        self.first.kill()
        self.advance(1)
        seen = [self.now(watch.next()).path for _ in range(3)]
        self.assertEqual(seen, ["/t/b", "/t/c", "/t/d"])
        self.write("/t/a")
        self.assertEqual(self.events(watch, 1), [6])

    def test_never_open(self) -> None:
        """A watch that no server opens in the time of a request fails as a request does."""
        self.first.kill()
        self.second.kill()
        watch, other = self.client.watch("/w"), self.client.watch("/v")
        opened, event = watch.opened(), other.next()
        self.advance(10.1)
        self.failureResultOf(opened, NoServer)
        self.failureResultOf(event, NoServer)
        self.assertTrue(watch.is_closed)

    def test_no_quorum(self) -> None:
        """A watch from now needs a quorum, and is opened by the server that has one."""
        self.first.coordinator.quorum = False
        watch = self.client.watch("/w")
        self.advance(1)
        self.assertEqual(self.now(watch.opened()), 0)
        self.assertEqual(len(self.second.connections), 1)

    def test_no_quorum_anywhere(self) -> None:
        """A watch that every server refuses fails with what they say."""
        self.first.coordinator.quorum = self.second.coordinator.quorum = False
        event = self.client.watch("/w").next()
        self.advance(10.1)
        self.assertEqual(self.failureResultOf(event, Unavailable).value, Unavailable("no quorum"))

    def test_opened_for_good(self) -> None:
        """A watch that was open waits for servers for as long as it takes."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.first.kill()
        self.second.kill()
        self.write()
        self.advance(60)
        self.first.start()
        self.advance(2)
        self.assertEqual(self.events(watch, 1), [1])

    def test_quorum_lost(self) -> None:
        """A server that loses the others, and would tell nothing any more, is left."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.first.coordinator.quorum = False
        self.advance(CLIENT_QUORUM_SECONDS + 2)
        self.assertEqual((len(self.first.connections), len(self.second.connections)), (0, 1))
        self.write()
        self.assertEqual(self.events(watch, 1), [1])

    def test_server_stopped(self) -> None:
        """A server that has stopped for good is left, and nothing is missed."""
        watch, waited = self.client.watch("/w"), self.client.wait("/w", timeout_seconds=20)
        self.now(watch.opened())
        self.write()
        self.assertEqual(self.events(watch, 1), [1])
        self.first.coordinator.stop_serving("removed")
        self.write(count=2)
        self.advance(1)
        self.assertEqual(self.events(watch, 2), [2, 3])
        self.assertEqual(self.successResultOf(waited).rev, 1)
        self.assertEqual((len(self.first.connections), len(self.second.connections)), (0, 1))

    def test_wait_and_server_stopped(self) -> None:
        """A wait goes on at another server where its own has stopped for good."""
        seen = self.client.wait("/w", timeout_seconds=20)
        self.advance(1)
        self.first.coordinator.stop_serving("removed")
        self.advance(1)
        self.write()
        self.advance(1)
        self.assertEqual(self.successResultOf(seen).rev, 1)

    def test_frozen(self) -> None:
        """A server that falls silent is left, and nothing is missed."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.first.freeze()
        self.write(count=2)
        self.advance(CLIENT_SILENCE_SECONDS + 1.2)
        self.assertEqual(self.events(watch, 2), [1, 2])

    def test_too_late(self) -> None:
        """A watch whose history is gone when it comes back says so; it never leaves a gap."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.first.kill()
        self.second.kill()
        self.advance(0.1)
        self.write(count=12_000)
        self.second.start()
        event = watch.next()
        self.advance(2)
        self.assertIn("revision", self.failureResultOf(event, TooLate).value.text)

    def test_wait(self) -> None:
        """A wait outlives servers, too, and ends on time all the same."""
        seen = self.client.wait("/w", timeout_seconds=20)
        nothing = self.client.wait("/v", timeout_seconds=5)
        self.advance(1)
        self.first.kill()
        self.write()
        self.advance(1)
        self.assertEqual(self.successResultOf(seen).rev, 1)
        self.advance(4)
        self.failureResultOf(nothing, TimedOut)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(STEPS), max_size=40))
    def test_any_story(self, story: list[str]) -> None:
        """Whatever befalls the servers, the watch tells the history, each event once."""
        ClientCase.setUp(self)
        watch = self.client.watch("/**")
        self.now(watch.opened())
        seen = []
        pending = watch.next()
        for step in [*story, "start", "time", "time"]:
            match step:
                case "write":
                    self.write("/t/a")
                    self.write("/t/b/c")
                case "tree":
                    self.perform(commands.Delete("/t", tree=True))
                case "drop":
                    self.first.drop()
                    self.second.drop()
                case "swap":
                    (self.first.kill if self.first.is_up else self.first.start)()
                case "start":
                    self.first.start()
                case "time":
                    self.advance(1)
            self.clock.advance(0)
            while step in ("take", "time") and pending.called:
                seen.append(self.successResultOf(pending))
                pending = watch.next()
        told = self.store.watch(Glob.parse(b"/**"), 0, lambda: None)
        expected = []
        while told.ready:
            expected += told.take(100)
        self.assertEqual(seen, expected)
        pending.addErrback(lambda _: None)
        self.farewell()


class Slow(ClientCase):
    """Events that nobody takes."""

    def flood(self, count: int, size: int = 0) -> None:
        """Make many events."""
        writes = [commands.Set("/w", bytes(size)) for _ in range(count)]
        self.first.coordinator.perform(writes, lambda _: None)

    def test_bounded(self) -> None:
        """A client keeps no more events than it has room for, and goes on with requests."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        for _ in range(20):
            self.flood(1000)
            self.advance(0.2)
        self.assertLess(len(watch._events), 4 * CLIENT_EVENTS_MAX)
        self.now(self.client.ping())
        self.assertEqual(self.events(watch, 20_000), [*range(1, 20_001)])

    def setUp(self) -> None:
        """Begin with a store that keeps all."""
        super().setUp()
        self.store = type(self.store)(50_000)
        self.first.coordinator.store = self.second.coordinator.store = self.store

    def test_large_values(self) -> None:
        """Large values fill the room by their bytes."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.flood(60, 500_000)
        self.advance(2)
        self.assertLess(len(watch._events), 20)
        self.assertEqual(self.events(watch, 10), [*range(1, 11)])
        self.advance(1)
        self.assertEqual(self.events(watch, 20), [*range(11, 31)])

    def test_others_served(self) -> None:
        """One who does not take holds up requests and other watches for a moment at most."""
        slow, quick = self.client.watch("/w"), self.client.watch("/v")
        self.now(slow.opened())
        self.now(quick.opened())
        self.flood(5000)
        self.advance(1)
        self.first.coordinator.perform([commands.Set("/v", b"")], lambda _: None)
        self.assertEqual(self.events(quick, 1), [5001])
        self.assertEqual(self.events(slow, 5000), [*range(1, 5001)])


class Quiet(ClientCase):
    """A watch on which nothing happens for a long time."""

    def setUp(self) -> None:
        """Begin with a history a little longer than a watch may fall behind."""
        super().setUp()
        self.store = type(self.store)(CLIENT_REFRESH_REVISIONS + 10_000)
        self.first.coordinator.store = self.second.coordinator.store = self.store

    def others_write(self, count: int) -> None:
        """Have other things happen."""
        writes = [commands.Set("/other", b"")] * 500
        for _ in range(count // 500):
            self.first.coordinator.perform(writes, lambda _: None)

    def test_kept_fresh(self) -> None:
        """It learns that it missed nothing, and goes on elsewhere though its start is forgotten."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.others_write(CLIENT_REFRESH_REVISIONS + 1000)
        self.advance(CLIENT_REFRESH_SECONDS + 2)
        self.assertGreater(watch.rev, CLIENT_REFRESH_REVISIONS)
        self.others_write(20_000)
        self.first.kill()
        self.first.coordinator.perform([commands.Set("/w", b"")], lambda _: None)
        self.advance(1)
        self.assertEqual(self.events(watch, 1), [self.store.rev])

    def test_not_fresh_for_nothing(self) -> None:
        """Where something happened meanwhile, that is what counts."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        self.others_write(CLIENT_REFRESH_REVISIONS + 1000)
        self.advance(3)
        self.first.coordinator.perform([commands.Set("/w", b"")], lambda _: None)
        rev = self.store.rev
        self.advance(CLIENT_REFRESH_SECONDS)
        self.assertEqual(watch.complete_rev, rev - 1)
        self.assertEqual(self.events(watch, 1), [rev])


class Different(ClientCase):
    """A watch that takes differences where history is gone."""

    def perform(self, *writes: commands.Write) -> None:
        """Do writes by way of the second server."""
        for write in writes:
            self.second.coordinator.perform([write], lambda _: None)

    def test_over_a_change_of_server(self) -> None:
        """It goes on with what differs, told in the place of what nobody knows any more."""
        self.perform(commands.Set("/w/kept", b"1"), commands.Set("/w/gone", b"1"))
        watch = self.client.watch("/w/*", diff=True)
        self.assertEqual(self.now(watch.opened()), 2)
        self.perform(commands.Set("/w/seen", b"1"))
        seen = self.now(watch.next())
        self.assertEqual(seen.rev, 3)
        self.first.kill()
        self.second.kill()
        self.advance(0.1)
        self.perform(commands.Delete("/w/gone"), *[commands.Set("/x", b"")] * 12_000)
        self.second.start()
        coming = watch.next()
        self.advance(2)
        differs = self.successResultOf(coming)
        assert isinstance(differs, Difference)
        self.assertEqual(differs.unchanged, ("/w/kept",))
        self.assertEqual([row.path for row in differs.changed], ["/w/seen"])
        self.assertEqual((differs.after_rev, watch.complete_rev), (2, self.store.rev))
        self.perform(commands.Set("/w/kept", b"2"))
        event = self.now(watch.next())
        self.assertEqual((event.rev, watch.rev), (self.store.rev, self.store.rev))

    def test_again(self) -> None:
        """It can happen more than once."""
        watch = self.client.watch("/w", after_rev=0, diff=True)
        self.now(watch.opened())
        for _ in range(2):
            self.first.kill()
            self.second.kill()
            self.advance(0.1)
            self.perform(commands.Set("/w", b""), *[commands.Set("/x", b"")] * 12_000)
            self.first.start()
            coming = watch.next()
            self.advance(2)
            self.assertIsInstance(self.successResultOf(coming), Difference)
