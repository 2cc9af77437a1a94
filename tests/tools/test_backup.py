"""``coord-backup``, the command line: what it refuses before anything is asked or written."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.tools import backup, backup_offline
from coord.tools.backup import main, parser
from coord.wire.backup import LeftOut


class Words(SynchronousTestCase):
    """Command lines that make no sense."""

    def refusal(self, *words: str) -> tuple[int, str]:
        """Return the exit status and the last line of the complaint."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as left:
                status = int(left.code or 0)
        self.assertEqual(out.getvalue(), "")
        return status, err.getvalue().splitlines()[-1]

    def test_numbers(self) -> None:
        """A pace below zero, and a size or a time of nothing or less, end with status 2."""
        for option, values in (
            ("--rows-per-second", ("-1", "nan", "inf", "fast")),
            ("--rotate-bytes", ("-1", "0", "1.5", "many")),
            ("--rotate-seconds", ("-1", "0", "nan", "inf", "long")),
        ):
            for value in values:
                status, told = self.refusal("follow", f"{option}={value}", "folder")
                self.assertEqual(status, 2)
                self.assertIn(f"argument {option}: {value!r} is no ", told)

    def test_follow_into_a_file(self) -> None:
        """Who names a file to ``follow`` is told that it wants a folder, and keeps the file."""
        path = Path(self.mktemp())
        path.write_text("mine")
        status, told = self.refusal("follow", str(path))
        self.assertEqual(status, 2)
        self.assertIn(f"{path} is no folder: follow wants one", told)
        self.assertEqual(path.read_text(), "mine")

    def test_no_limit(self) -> None:
        """A pace of 0 is what it is said to be: no limit."""
        given = parser().parse_args(["dump", "--rows-per-second", "0", "file"])
        self.assertEqual(given.rows_per_second, 0)


class Offline(SynchronousTestCase):
    """What is told of a node's directory."""

    def told(self, undecided: int) -> str:
        """Return what is told where the fate of some slots is not known."""
        found: Any = SimpleNamespace(
            undecided=undecided, node="n1", cluster="c", store=SimpleNamespace(rev=3)
        )
        self.patch(backup_offline, "rebuild", lambda *_, **__: found)
        self.patch(backup_offline, "write", lambda *_: (2, LeftOut(ephemeral=1)))
        said: list[str] = []
        self.patch(backup, "_tell", said.append)
        self.assertEqual(main(["offline", "folder", str(Path(self.mktemp()))]), 0)
        return said[-1]

    def test_undecided(self) -> None:
        """One slot is left out, and two are."""
        self.assertEqual(
            self.told(1),
            "1 slot of the log is left out: n1 voted for it and never learnt its fate"
            " (--undecided takes it)",
        )
        self.assertEqual(
            self.told(2),
            "2 slots of the log are left out: n1 voted for them and never learnt their fate"
            " (--undecided takes them)",
        )
        self.assertEqual(self.told(0), "2 nodes of revision 3 of c; left out: 1 ephemeral node")
