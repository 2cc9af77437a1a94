"""An election and a write among three, as a story to be read.

``COORD_REWRITE=1`` writes the transcripts anew; the change is then reviewed as a diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.messages import Accept
from tests.paxos.net import Net

TRANSCRIPTS = Path(__file__).parent / "transcripts"


class Transcripts(SynchronousTestCase):
    """What is said, and in which order."""

    def examine(self, name: str, story: Callable[[Net], None]) -> None:
        """Tell a story and compare it with the file."""
        net = Net(3)
        lines: list[str] = []
        net.tell = lines.append
        story(net)
        text = "\n".join(lines) + "\n"
        path = TRANSCRIPTS / f"{name}.txt"
        if os.environ.get("COORD_REWRITE"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.assertEqual(text, path.read_text(encoding="utf-8"))

    def test_write(self) -> None:
        """A leader is elected, and one write is chosen and learnt by all."""

        def story(net: Net) -> None:
            net.elect("n1")
            net.tell("-- the write")
            net.propose("n1", b"hello")
            net.settle()

        self.examine("write", story)

    def test_recovery(self) -> None:
        """A leader dies with a write half done; the next one finishes it."""

        def story(net: Net) -> None:
            net.elect("n1")
            net.tell("-- a write reaches n3 alone")
            net.propose("n1", b"hello")
            net.deliver(net.take(Accept, to="n3")[0])
            net.bag.clear()
            net.write("n3")
            net.bag.clear()
            net.tell("-- n1 crashes, with its own vote unsaved")
            net.crash("n1")
            net.elect("n2")

        self.examine("recovery", story)
