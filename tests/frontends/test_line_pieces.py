"""Every verb fed byte by byte, cut anywhere, and as junk: what comes back stays what it is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from coord.frontends.line import LineFactory
from coord.verbs import VERBS
from tests.frontends.local import Client, LocalCoordinator
from tests.frontends.test_line import LineCase

CONVERSATION = b"""\
SESSION timeout=5
SET ephemeral ttl=60 id=w1 /a hello
SET ephemeral ttl=60 id=w1 /a hello
ADD seq ttl=1.5 id=w2 /q/n- {3}
x
y
OUTCOME w2
BEGIN
SET /t 1
GET /a
CHECK if=0 /none
COMMIT id=w3
OUTCOME w3
BEGIN
SET /t 2
CHECK token=9 /none
FROB
COMMIT
LOCK delay=1 /l me
LOCK shared wait=5 /s
LOCK wait=5 id=w4 /m {0}

UNLOCK id=w5 /l
STAT /s
STAT local /a
REVERT rev=1 /t
BLAME /a
LOG limit=3 /**
LOG local /q/*
AUTH secret
AUTH {5}
a
b
c
SESSION keep
SESSION
WATCH from=0 diff /none
WALK lasting /**
SESSION resume=0000000000000001:key-1
SESSION end
SESSION end
ABORT
CHECK if=1 /a
HELP LOCK
PING
QUIT
"""
"""A conversation with everything that a session, a lock, a transaction and a name can be asked.

Nothing has a tag: the order of replies is fixed, and so are the revisions.
"""


def talk(pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return what comes back from pieces sent one after the other, and whether it was closed."""
    clock = Clock()
    client = Client(LineFactory(clock, LocalCoordinator()), clock)
    for piece in pieces:
        client.send(piece)
    return client.read(), client.is_closed


class Pieces(LineCase):
    """However it is cut."""

    def setUp(self) -> None:
        """Hold the conversation in one piece."""
        super().setUp()
        self.whole = talk([CONVERSATION])
        self.assertTrue(self.whole[1])
        self.assertEqual(self.whole[0].count(b"ERR"), 6)

    def test_byte_by_byte(self) -> None:
        """Byte by byte a conversation goes as in one piece."""
        pieces = [CONVERSATION[at : at + 1] for at in range(len(CONVERSATION))]
        self.assertEqual(talk(pieces), self.whole)

    def test_line_by_line(self) -> None:
        """So it does line by line, as someone types."""
        self.assertEqual(talk(CONVERSATION.splitlines(keepends=True)), self.whole)

    @settings(max_examples=40, derandomize=True, deadline=None)
    @given(st.lists(st.integers(0, len(CONVERSATION)), max_size=6))
    def test_cut_anywhere(self, places: list[int]) -> None:
        """So it does cut anywhere."""
        bounds = [0, *sorted(places), len(CONVERSATION)]
        pieces = [CONVERSATION[start:end] for start, end in pairwise(bounds)]
        self.assertEqual(talk(pieces), self.whole)


WORDS = st.sampled_from(
    [verb.name.encode() for verb in VERBS]
    + [option.usage().strip("[]").encode() for verb in VERBS for option in verb.options]
    + [b"#t", b"#u", b"/a", b"/l", b"/**", b"/ctl/acl", b"{2}", b"{0}", b"x", b"9", b"ephemeral"]
    + [b"id=w", b"ttl=1", b"wait=1", b"if=1", b"token=1", b"\xff", b"\x00", b"", b"resume=1:2"]
)
LINES = st.lists(WORDS, min_size=1, max_size=6).map(b" ".join)


class Junk(LineCase):
    """Whatever is sent."""

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(st.lists(LINES, max_size=20), st.booleans())
    def test_words_in_any_order(self, lines: list[bytes], lost: bool) -> None:
        """Words of the protocol in any order are answered or refused; nothing is left behind."""
        clock, coordinator = Clock(), LocalCoordinator()
        client = Client(LineFactory(clock, coordinator), clock)
        client.send(b"".join(line + b"\n" for line in lines))
        client.read()
        clock.advance(60)
        client.read()
        if lost:
            client.protocol.connectionLost()
        else:
            client.protocol.readConnectionLost()
            client.read()
            client.protocol.connectionLost()
        self.assertEqual((clock.getDelayedCalls(), coordinator.holds), ([], {}))
        self.assertEqual(coordinator.store.watch_count, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
