"""``coord-backup``, the command line: what it refuses before anything is asked or written."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from coord.tools.backup import main, parser


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

    def test_no_limit(self) -> None:
        """A pace of 0 is what it is said to be: no limit."""
        given = parser().parse_args(["dump", "--rows-per-second", "0", "file"])
        self.assertEqual(given.rows_per_second, 0)
