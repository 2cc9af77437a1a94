"""What the page about the client shows is what happens."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord.client import Difference
from coord.events import Kind
from coord.testing import MemoryClient, MemoryStore

PAGE = Path(__file__).resolve().parent.parent.parent / "doc" / "client.rst"
EXAMPLE = re.compile(r"\n(    async def (\w+)\(client\):\n(?:    [^\n]*\n|\n)+)")


def examples() -> dict[str, Callable[[MemoryClient], Any]]:
    """Return the functions that the page shows, by their names."""
    found: dict[str, Any] = {"Difference": Difference, "Kind": Kind, "print": lambda _: None}
    names = []
    for match in EXAMPLE.finditer(PAGE.read_text(encoding="utf-8")):
        exec(textwrap.dedent(match[1]), found)
        names.append(match[2])
    return {name: found[name] for name in names}


class Page(SynchronousTestCase):
    """Each example, run."""

    def setUp(self) -> None:
        """Read the page."""
        self.examples = examples()
        self.client = MemoryClient()

    def run_whole(self, name: str) -> None:
        """Run an example to its end."""
        self.successResultOf(ensureDeferred(self.examples[name](self.client)))

    def test_known(self) -> None:
        """Every example is one of these."""
        expected = {"pay_once", "register", "lead", "move", "mirror"}
        self.assertEqual(set(self.examples), expected)

    def test_pay_once(self) -> None:
        """A write with an id is done once."""
        self.run_whole("pay_once")
        self.assertEqual(len(self.successResultOf(self.client.log("/paid/17")).entries), 1)

    def test_register(self) -> None:
        """A service is there as long as its session."""
        self.run_whole("register")
        self.assertEqual(self.successResultOf(self.client.walk("/services/**")).rows, ())

    def test_lead(self) -> None:
        """A leader writes under its token, and lets go."""
        self.run_whole("lead")
        self.assertEqual(self.successResultOf(self.client.get("/jobs/last")).value, b"7")
        self.successResultOf(MemoryClient(self.client.store).lock("/leader"))

    def test_move(self) -> None:
        """A value moves in one step."""
        self.client.set("/from", b"here")
        self.run_whole("move")
        self.assertEqual(self.successResultOf(self.client.get("/to")).value, b"here")

    def test_mirror(self) -> None:
        """A copy is right, whatever history is gone meanwhile."""
        self.client = MemoryClient(MemoryStore(history_revisions=10))
        for number in range(50):
            self.client.set(f"/services/{number % 7}", b"%d" % number)
        self.client.delete("/services/3")
        mirror = self.examples["mirror"](self.client)
        running = ensureDeferred(mirror)
        self.client.set("/services/new", b"")
        self.client.delete("/services/4")
        frame = mirror.cr_frame
        assert frame is not None
        copy = dict(frame.f_locals["copy"])
        rows = self.successResultOf(self.client.walk("/services/**")).rows
        self.assertEqual(copy, {row.path: row.value for row in rows})
        running.addErrback(lambda _: None)
        running.cancel()
