"""Which requests share a group, what waits for what, and the order of replies."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from coord.commands import Add, Delete, Get, List, Set, Stat, Sync
from coord.frontends.line import LineFactory
from coord.limits import GROUP_COMMANDS_MAX
from tests.frontends.local import Client, LocalCoordinator
from tests.frontends.test_line import LineCase


class Groups(LineCase):
    """Neighbours become one group."""

    def test_one_chunk(self) -> None:
        """Reads and writes of one chunk are handed over together, in order."""
        self.hold(
            "SET /a 1\n  OK 1\nGET /a\n  VALUE 1 1\nADD /b 2\n  OK 2 /b\n"
            "SYNC\n  OK 2\nDEL /a\n  OK 3\nGET /b\n  VALUE 2 2"
        )
        expected = [Set("/a", b"1"), Get("/a"), Add("/b", b"2"), Sync(), Delete("/a"), Get("/b")]
        self.assertEqual(self.coordinator.groups, [expected])

    def test_local(self) -> None:
        """A local read never joins what needs others."""
        self.client.ask(b"GET /a\nGET local /a\nSTAT local /a\nSET /a 1\n")
        self.assertEqual(
            self.coordinator.groups,
            [[Get("/a")], [Get("/a", local=True), Stat("/a", local=True)], [Set("/a", b"1")]],
        )

    def test_tagged(self) -> None:
        """Tagged requests of one chunk share a group of reads and a group of writes."""
        self.client.ask(b"#a GET /a\n#b SET /a 1\n#c GET /b\n#d SET /b 2\n")
        self.assertEqual(
            self.coordinator.groups,
            [[Get("/a"), Get("/b")], [Set("/a", b"1"), Set("/b", b"2")]],
        )

    def test_size(self) -> None:
        """A group has a bound: what is more goes in the next, and nothing is lost."""
        count = 3 * GROUP_COMMANDS_MAX + 5
        for tag in (b"", b"#t%d "):
            self.coordinator.groups.clear()
            lines = [(tag % n if tag else b"") + b"SET /a %d\n" % n for n in range(count)]
            first = self.coordinator.rev + 1
            reply = self.client.ask(b"".join(lines)).splitlines()
            self.assertEqual(
                [line.split()[-1] for line in reply], [b"%d" % (first + n) for n in range(count)]
            )
            self.assertGreaterEqual(len(self.coordinator.groups), 4)
            self.assertLessEqual(max(map(len, self.coordinator.groups)), GROUP_COMMANDS_MAX)

    def test_bytes(self) -> None:
        """Large values do not share a group until it is too large for one slot."""
        text = b"".join(b"SET /a {900000}\n%b\n" % (b"x" * 900_000) for _ in range(4))
        self.client.ask(text)
        self.assertEqual([len(group) for group in self.coordinator.groups], [1, 1, 1, 1])


class InFlight(LineCase):
    """What may be under way at the same time."""

    def setUp(self) -> None:
        """Keep all answers back."""
        super().setUp()
        self.coordinator.holding = True

    def submitted(self) -> int:
        """Return how many groups were handed over so far."""
        return len(self.coordinator.groups)

    def test_same_kind(self) -> None:
        """Writes start while writes are under way, reads while reads are."""
        for chunk in (b"SET /a 1\n", b"SET /a 2\nGET /a\n", b"DEL /a\n"):
            self.client.send(chunk)
        self.assertEqual(self.submitted(), 3)
        other = self.connect()
        for chunk in (b"GET /a\n", b"SYNC\n", b"STAT /a\n"):
            other.send(chunk)
        self.assertEqual(self.submitted(), 6)

    def test_other_kind(self) -> None:
        """A read waits for the writes before it, and the writes after for the read."""
        for chunk in (b"SET /a 1\n", b"GET /a\n"):
            self.client.send(chunk)
        self.assertEqual(self.submitted(), 1)
        self.coordinator.release(1)
        self.assertEqual(self.submitted(), 2)
        self.client.send(b"SET /a 2\n")
        self.assertEqual(self.submitted(), 2)
        self.coordinator.release(1)
        self.coordinator.release(1)
        self.assertEqual(self.client.read(), b"OK 1\nVALUE 1 1\nOK 2\n")

    def test_local_waits(self) -> None:
        """An untagged local read comes after the write before it."""
        self.client.send(b"SET /a 1\nGET local /a\nREV\nGET /a\n")
        self.assertEqual(self.submitted(), 1)
        while self.coordinator.waiting:
            self.coordinator.release(1)
        self.assertEqual(self.client.read(), b"OK 1\nVALUE 1 1\nOK 1\nVALUE 1 1\n")

    def test_alone(self) -> None:
        """A list, a walk, a watch or a wait begins after all before it, and blocks all after it."""
        for line, reply in (
            (b"LIST /", b"ITEM a\nEND %d\n"),
            (b"WALK /none", b"END %d\n"),
            (b"WATCH /none", b"OK %d\n"),
        ):
            rev = self.coordinator.rev + 1
            before = self.submitted()
            self.client.send(b"SET /a 1\n" + line + b"\nSET /a 2\n")
            self.assertEqual(self.submitted(), before + 1)
            self.coordinator.release(1)
            self.assertEqual(self.submitted(), before + 2)
            self.coordinator.release(1)
            self.assertEqual(self.submitted(), before + 3)
            self.coordinator.release(1)
            self.assertEqual(self.client.read(), b"OK %d\n%bOK %d\n" % (rev, reply % rev, rev + 1))

    def test_wait_blocks(self) -> None:
        """An untagged wait holds up the untagged requests behind it; tagged ones go on."""
        self.coordinator.holding = False
        self.client.send(b"WAIT from=0 /a\nPING\n#p PING\n#g GET /none\n")
        reply = self.client.read().splitlines()
        self.assertEqual([line.split()[0] for line in reply], [b"#p", b"#g"])
        self.connect().ask(b"SET /a 1\n")
        self.assertEqual(self.client.read(), b"EVENT 1 set /a 1\nOK\n")

    def test_errors_in_order(self) -> None:
        """An error is answered in its place, not before the replies to earlier requests."""
        self.client.send(b"SET /a 1\nFROB\nPING\nGET /a\n")
        self.assertEqual(self.client.read(), b"")
        self.coordinator.release(1)
        self.coordinator.release(1)
        words = [line.split()[0] for line in self.client.read().splitlines()]
        self.assertEqual(words, [b"OK", b"ERR", b"OK", b"VALUE"])


class TaggedOrder(LineCase):
    """Tagged requests pass others, but no write passes a write."""

    def test_reads_pass(self) -> None:
        """A tagged read is answered while an untagged one waits."""
        self.coordinator.holding = True
        self.client.send(b"SET /a 1\nGET /a\n#t GET /none\n")
        self.assertEqual(len(self.coordinator.waiting), 2)
        self.coordinator.perform(*self.coordinator.waiting.pop(0))
        self.assertIn(b"#t ERR NOENT", self.client.read())

    def test_write_behind_waiting_write(self) -> None:
        """A tagged write waits for an untagged write sent before it, however long that waits."""
        self.client.send(b"WAIT from=0 /go\nSET /a 1\nGET /a\n")
        self.client.send(b"#t SET /a 2\n")
        self.client.send(b"SET /a 3\n#u SET /a 4\n")
        self.assertEqual(self.coordinator.groups, [])
        self.connect().ask(b"SET /go 1\n")
        reply = self.client.read().splitlines()
        self.assertEqual(
            [line for line in reply if b"OK" in line], [b"OK 2", b"#t OK 3", b"OK 4", b"#u OK 5"]
        )
        writes = [
            one.value
            for group in self.coordinator.groups
            for one in group
            if isinstance(one, Set) and one.path == "/a"
        ]
        self.assertEqual(writes, [b"1", b"2", b"3", b"4"])

    def test_write_without_waiting_write(self) -> None:
        """A tagged write does not wait for untagged reads, waits or walks."""
        self.client.send(b"WAIT from=0 /go\nGET /a\n#t SET /a 2\n")
        self.assertEqual(self.client.read(), b"#t OK 1\n")

    def test_tag_in_use(self) -> None:
        """A tag in use again is refused; once its reply is out it may be used again."""
        self.coordinator.holding = True
        self.client.send(b"#t GET /a\n#t GET /a\n")
        self.assertTrue(self.client.read().startswith(b"#t ERR TAG_IN_USE "))
        self.coordinator.release()
        self.assertTrue(self.client.read().startswith(b"#t ERR NOENT "))
        self.coordinator.holding = False
        for line in (
            b"GET /a",
            b"PING",
            b"LIST /",
            b"FROB",
            b"HELP",
            b"REV",
            b"SET /x 1",
            b"WAIT from=0 /x",
        ):
            reply = self.client.ask(b"#t " + line + b"\n")
            self.assertTrue(reply.startswith(b"#t "), line)
            self.assertNotIn(b"TAG_IN_USE", reply)

    def test_many_lists(self) -> None:
        """More tagged lists than run at once all get their turn."""
        self.client.ask(b"SET /a 1\n")
        reply = self.client.ask(b"".join(b"#t%d LIST /\n" % number for number in range(100)))
        self.assertEqual(reply.count(b" ITEM a\n"), 100)
        self.assertEqual(reply.count(b" END 1\n"), 100)


REQUESTS = st.lists(
    st.sampled_from(
        [
            b"SET /a 1\n",
            b"SET /b {3}\nx\ny\n",
            b"DEL /a\n",
            b"ADD seq /q- v\n",
            b"GET /a\n",
            b"GET /b\n",
            b"GET local /a\n",
            b"STAT /a\n",
            b"LIST /\n",
            b"WALK /**\n",
            b"SYNC\n",
            b"PING\n",
            b"FROB\n",
            b"SESSION\n",
            b"SESSION end\n",
            b"SET ephemeral /e 1\n",
            b"LOCK /a v\n",
            b"LOCK wait=5 /l\n",
            b"UNLOCK /l\n",
            b"BEGIN\nGET /a\nSET /a 2\nADD seq /q- v\nCOMMIT\n",
            b"BEGIN\nDEL /a\nCOMMIT id=c\n",
            b"ADD seq id=w /q- v\n",
            b"OUTCOME w\n",
            b"REVERT rev=1 /a\n",
            b"BLAME /a\n",
            b"LOG limit=2 /**\n",
            b"AUTH x\n",
        ]
    ),
    max_size=12,
)

TAGS = st.sampled_from([b"", b"", b"#a ", b"#b ", b"#c "])
LINES = st.sampled_from(
    [
        b"SET /a 1\n",
        b"SET /a {2}\nhi\n",
        b"GET /a\n",
        b"GET local /b\n",
        b"LIST /\n",
        b"WALK /**\n",
        b"PING\n",
        b"REV\n",
        b"HELP\n",
        b"STATUS\n",
        b"FROB\n",
        b"SESSION\n",
        b"SET ephemeral /e 1\n",
        b"LOCK /l\n",
        b"LOCK wait=5 /l\n",
        b"UNLOCK /l\n",
        b"SET id=w /a 1\n",
        b"BLAME /a\n",
        b"AUTH x\n",
        b"BEGIN\n",
        b"CHECK if=0 /a\n",
        b"ABORT\n",
        b"WAIT timeout=0 /none\n",
    ]
)


class AnyOrder(LineCase):
    """Pipelining changes nothing but the time that it takes."""

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(REQUESTS, st.data())
    def test_pipelined_as_one_by_one(self, requests: list[bytes], draw: st.DataObject) -> None:
        """However requests are cut and answers delayed, replies are as if asked one by one."""
        clock, slow = Clock(), LocalCoordinator()
        one_by_one = Client(LineFactory(clock, LocalCoordinator()), clock)
        expected = b"".join(one_by_one.ask(request) for request in requests)
        slow.holding = True
        client = Client(LineFactory(clock, slow), clock)
        text = b"".join(requests)
        places = draw.draw(st.lists(st.integers(0, len(text)), max_size=4))
        came = b""
        for start, end in pairwise([0, *sorted(places), len(text)]):
            client.send(text[start:end])
            if draw.draw(st.booleans()) and slow.waiting:
                slow.release(1)
            came += client.read()
        while slow.waiting:
            slow.release(1)
            came += client.read()
        self.assertEqual(came, expected)

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.lists(st.tuples(TAGS, LINES, st.booleans()), max_size=25), st.data())
    def test_every_request_answered(
        self, asked: list[tuple[bytes, bytes, bool]], draw: st.DataObject
    ) -> None:
        """Tagged or not, answered late or at once: each request gets one reply, and none stays."""
        clock, slow = Clock(), LocalCoordinator()
        client = Client(LineFactory(clock, slow), clock)
        came = b""

        def coin() -> bool:
            return draw.draw(st.booleans())

        for tag, line, holding in asked:
            slow.holding = holding
            client.send(tag + line)
            if coin():
                came += client.read()
            if slow.waiting and coin():
                slow.release(1)
        while slow.waiting:
            slow.release(1)
            came += client.read()
        came += client.read()
        ends = [
            line for line in came.splitlines() if re.match(rb"(#\w+ )?(OK|VALUE|ERR|END)", line)
        ]
        self.assertEqual(len(ends), len(asked))
        conversation = client.protocol._conversation
        self.assertEqual((conversation._requests, conversation._bytes), (0, 0))
        self.assertEqual(len(conversation._tags), slow.store.watch_count)

    def test_list_is_not_grouped(self) -> None:
        """Rows are asked for by themselves."""
        self.client.ask(b"GET /a\nLIST /\nGET /a\n")
        self.assertEqual(self.coordinator.groups, [[Get("/a")], [List("/")], [Get("/a")]])
