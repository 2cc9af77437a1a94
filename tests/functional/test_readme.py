"""What the README shows is what happens, to the byte."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.functional.cluster import ROOT, Cluster

PROMPT = "> "


def transcript(path: Path) -> list[tuple[str, list[str]]]:
    """Return what is typed in a page's transcript, and the lines that come back."""
    steps: list[tuple[str, list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("    ")
        if line.startswith("    " + PROMPT):
            steps.append((text.removeprefix(PROMPT), []))
        elif steps and line.startswith("    "):
            steps[-1][1].append(text)
        elif steps:
            break
    return steps


class Readme(TestCase):
    """The transcript at the keyboard, typed into a fresh cluster of three."""

    def test_transcript(self) -> None:
        """Every line that the README promises comes back, in that order, and no other."""
        steps = transcript(ROOT / "README.rst")
        self.assertGreater(len(steps), 5)
        with Cluster(3) as cluster:
            cluster.start()
            with cluster.nodes[0].link() as link:
                for typed, promised in steps:
                    link.send(typed)
                    self.assertEqual((typed, link.lines(len(promised))), (typed, promised))
                self.assertRaises(ConnectionError, link.line)
