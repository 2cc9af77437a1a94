"""Clients that send much and read little: what they cost, and that nobody else pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from coord.commands import CLUSTER, Caller, List, Walk
from coord.limits import PIPELINE_REQUESTS_MAX, REPLY_SLICE_BYTES, VALUE_BYTES_MAX
from coord.results import Result, Row, Rows
from tests.descriptors import Eager
from tests.frontends.local import Client
from tests.frontends.test_line import LineCase

UNSENT_MAX = 65536 + 3 * REPLY_SLICE_BYTES


class Slow(LineCase):
    """A client that does not read."""

    def pour(self, client: Client, text: bytes) -> int:
        """Send as long as the node reads; return how many bytes it took."""
        taken = 0
        while taken < len(text) and client.transport.producerState == "producing":
            client.protocol.dataReceived(text[taken : taken + 65536])
            taken += 65536
        return min(taken, len(text))

    def test_never_reads(self) -> None:
        """A client that writes 100,000 requests and reads nothing is no longer read from."""
        self.client.ask(b"SET /a {1000}\n%b\n" % (b"x" * 1000))
        text = b"GET /a\n" * 100_000
        taken = self.pour(self.client, text)
        self.assertLess(taken, len(text) // 2)
        self.assertLess(self.client.transport.unsent_max, UNSENT_MAX + 2000)
        self.assertLess(self.client.protocol._conversation._requests, 3 * PIPELINE_REQUESTS_MAX)
        self.assertEqual(self.connect().ask(b"PING\n"), b"OK\n")

    def test_reads_later(self) -> None:
        """Once it reads it gets every answer, in order."""
        text = b"".join(b"SET /a %d\n" % number for number in range(100_000))
        came, sent = b"", 0
        while sent < len(text):
            sent += self.pour(self.client, text[sent:])
            came += self.client.read()
        came += self.client.read()
        self.assertEqual(came, b"".join(b"OK %d\n" % number for number in range(1, 100_001)))
        self.assertLess(self.client.transport.unsent_max, UNSENT_MAX)

    def test_large_values(self) -> None:
        """Replies of a megabyte are made one by one as the client takes them."""
        self.client.ask(b"SET /a {%d}\n%b\n" % (VALUE_BYTES_MAX, b"x" * VALUE_BYTES_MAX))
        self.client.transport.unsent_max = 0
        self.client.send(b"GET /a\n" * 50)
        self.assertLess(self.client.transport.unsent_max, 3 * (VALUE_BYTES_MAX + REPLY_SLICE_BYTES))
        self.assertEqual(
            len(self.client.read()), 50 * (VALUE_BYTES_MAX + len("VALUE 1 {1048576}\n\n"))
        )

    def test_help_is_not_multiplied(self) -> None:
        """Small requests with long replies are answered as they are read, tagged or not."""
        for text in (b"HELP\n" * 5000, b"".join(b"#t%d HELP\n" % n for n in range(5000))):
            client = self.connect()
            client.send(text)
            self.assertLess(client.transport.unsent_max, UNSENT_MAX + 3000)
            self.assertEqual(client.read().count(b"END 0\n"), 5000)

    def test_waiting_bytes(self) -> None:
        """A client is not read from while too many bytes of its writes wait."""
        self.coordinator.holding = True
        text = b"SET /a {1000000}\n%b\n" % (b"x" * 1_000_000)
        self.assertLess(self.pour(self.client, text * 20), 6 * len(text))
        while self.coordinator.waiting:
            self.coordinator.release()
        self.assertEqual(self.client.transport.producerState, "producing")

    def test_slow_watcher(self) -> None:
        """Events wait in the store, not here, for a client that does not take them."""
        self.client.ask(b"WATCH /**\n")
        value = b"x" * 1000
        for number in range(300):
            self.connect().ask(b"SET /k%d %b\n" % (number, value))
        self.clock.advance(0)
        self.assertLess(self.client.transport.unsent_max, UNSENT_MAX + 2000)
        lines = self.client.read().splitlines()
        self.assertEqual(
            [line.split()[1] for line in lines], [b"%d" % rev for rev in range(1, 301)]
        )

    def test_one_write_a_turn(self) -> None:
        """All replies to one chunk leave in one write."""
        self.client.transport.writes = 0
        self.client.send(b"SET /a 1\nGET /a\nFROB\nPING\n#t GET /a\nLIST /\nHELP\n#w WATCH /a\n")
        self.assertEqual(self.client.transport.writes, 1)
        self.assertEqual(self.client.read().splitlines()[-1], b"#w OK 1")


class LongRows(LineCase):
    """Walks and lists over much."""

    def setUp(self) -> None:
        """Fill the store."""
        super().setUp()
        self.count = 12_000
        self.client.ask(b"".join(b"SET /d/%05d %d\n" % (n, n) for n in range(self.count)))

    def test_one_picture(self) -> None:
        """A walk that is taken slowly shows the store as it was when it began."""
        self.client.send(b"WALK /d/**\n#l LIST /d\n")
        self.connect().ask(b"DEL tree /d\nSET /d/x 1\n")
        reply = self.client.read().splitlines()
        self.assertLess(self.client.transport.unsent_max, UNSENT_MAX + 2000)
        nodes = [line for line in reply if line.startswith(b"NODE ")]
        self.assertEqual(nodes[-1], b"NODE /d/11999 12000 11999")
        names = [line for line in reply if line.startswith(b"#l ITEM ")]
        self.assertEqual((len(nodes), len(names)), (self.count, self.count))
        self.assertIn(b"END 12000", reply)
        self.assertIn(b"#l END 12000", reply)

    def test_reads_greedily(self) -> None:
        """A client that takes all there is gets a page a turn, so that others have their turn."""
        transport, protocol = Eager(), self.factory.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"WALK /d/**\n")
        pages = 0
        while transport.turn() or self.clock.calls:
            for call in [*self.clock.calls]:  # what they ask for is for the turn after
                self.clock.calls.remove(call)
                call.func()
            pages += 1
            self.assertLess(len(transport.taken), (pages + 1) * UNSENT_MAX)
        self.assertEqual(transport.taken.count(b"\n"), self.count + 1)
        self.assertGreaterEqual(pages, len(transport.taken) // REPLY_SLICE_BYTES)

    def test_closing(self) -> None:
        """A connection that is being closed is closed, whatever is still said on it."""
        transport, protocol = Eager(), self.factory.buildProtocol(None)
        protocol.makeConnection(transport)
        transport.loseConnection()
        protocol.dataReceived(b"PING\n")
        self.assertIn(transport, transport.memory_reactor.getWriters())
        self.assertIsNotNone(transport.doWrite())

    def test_events_between_replies(self) -> None:
        """Untagged events never come among the rows of an untagged walk; tagged ones may."""
        self.client.ask(b"WATCH /e\n#w WATCH /e\n")
        self.client.send(b"WALK /d/**\n")
        self.connect().ask(b"SET /e 1\n")
        lines = [line.split()[0] for line in self.client.read().splitlines()]
        self.assertEqual(lines.count(b"EVENT"), 1)
        self.assertGreater(lines.index(b"EVENT"), lines.index(b"END"))
        self.assertLess(lines.index(b"#w"), lines.index(b"END"))

    def test_tagged_events_beside_a_walk(self) -> None:
        """A long tagged walk does not hold up events or other requests."""
        self.client.ask(b"WATCH /e\n")
        self.client.send(b"#l WALK /d/**\n")
        self.connect().ask(b"SET /e 1\n")
        self.client.send(b"PING\n")
        lines = list(self.client.read().splitlines())
        end = lines.index(b"#l END 12000")
        self.assertLess(lines.index(b"EVENT 12001 set /e 1"), end)
        self.assertLess(lines.index(b"OK"), end)

    def test_lost_within(self) -> None:
        """A connection lost within a walk lets go of the picture."""
        closed = []
        original = self.coordinator.store.answer

        def noting(read: List | Walk, caller: Caller = CLUSTER) -> Result:
            result = original(read, caller)
            assert isinstance(result, Rows)
            rows = result.rows

            def watched() -> Iterator[Any]:
                try:
                    yield from rows
                finally:
                    closed.append(read)

            return Rows(result.rev, watched())

        self.coordinator.store.answer = noting  # type: ignore[assignment, method-assign]
        self.client.send(b"WALK /**\n#t LIST /d\n")
        self.client.protocol.connectionLost()
        self.assertEqual(len(closed), 2)

    def test_slices(self) -> None:
        """A walk that finds nothing for long gives way to others, turn by turn, to its end."""
        turns = []

        def searching() -> Iterator[Row | None]:
            for _ in range(10):
                turns.append(self.clock.seconds())
                self.clock.rightNow += 0.01  # each stretch takes ten milliseconds
                yield None
            yield Row("/z", 3, b"found")

        self.coordinator.store.answer = (  # type: ignore[method-assign]
            lambda read, caller=CLUSTER: Rows(7, searching())
        )
        calls = []

        def counting(seconds: float, call: Callable[..., object]) -> IDelayedCall:
            calls.append(call)
            return later(seconds, call)

        later = self.clock.callLater
        self.patch(self.clock, "callLater", counting)
        self.client.send(b"WALK /z\n")
        self.assertEqual(len(turns), 1)
        self.assertEqual(self.client.read(), b"NODE /z 3 found\nEND 7\n")
        self.assertLessEqual(len(calls), len(turns))
