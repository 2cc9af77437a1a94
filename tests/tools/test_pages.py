"""The pages of the programs: every option is explained, and the man pages can be made."""

from __future__ import annotations

import argparse
import configparser
import io
import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from coord.tools import backup, cli_words

ROOT = Path(__file__).resolve().parent.parent.parent
MAN = ROOT / "doc" / "man"
GRAMMARS = {"coord": cli_words.parser, "coord-backup": backup.parser}


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return every long option of a program."""
    found = set()
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            found |= {name for name in action.option_strings if name.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            for made in action.choices.values():
                found |= options(made)
    return found - {"--help", "--version"}


class ManPages(SynchronousTestCase):
    """Man pages."""

    def test_options(self) -> None:
        """Each option is in its program's man page, and no other is."""
        for name, grammar in GRAMMARS.items():
            page = (MAN / f"{name}.1.rst").read_text(encoding="utf-8")
            told = set(re.findall(r"^(--[a-z][a-z-]+)", page, re.MULTILINE))
            self.assertEqual(told, options(grammar()))

    def test_commands(self) -> None:
        """Each command is in its program's man page and on its page here."""
        for name, page_name in (("coord", "cli"), ("coord-backup", "backup")):
            man = (MAN / f"{name}.1.rst").read_text(encoding="utf-8")
            page = (ROOT / "doc" / f"{page_name}.rst").read_text(encoding="utf-8")
            for action in GRAMMARS[name]()._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for command in action.choices:
                        self.assertRegex(man, rf"\b{command}\b")
                        self.assertIn(f"{name} {command}", page)

    def test_made(self) -> None:
        """They are made without a warning."""
        try:
            from docutils.core import publish_string  # type: ignore[import-untyped]
        except ImportError:
            raise SkipTest("docutils is for developers") from None
        for path in sorted(MAN.glob("*.rst")):
            warnings = io.StringIO()
            made = publish_string(
                path.read_text(encoding="utf-8"),
                writer_name="manpage",
                settings_overrides={"warning_stream": warnings, "output_encoding": "unicode"},
            )
            self.assertEqual(warnings.getvalue(), "")
            self.assertIn(".SH OPTIONS", made.upper())


class Units(SynchronousTestCase):
    """Units of systemd."""

    def test_units(self) -> None:
        """Each starts a program that there is, and is started again when it fails."""
        for path in sorted((ROOT / "contrib").glob("*.service")):
            unit = configparser.RawConfigParser(strict=True)
            unit.optionxform = str  # type: ignore[assignment,method-assign]
            unit.read(path)
            self.assertEqual(unit["Service"]["Restart"], "on-failure")
            self.assertRegex(unit["Service"]["ExecStart"], r" (twistd|coord-backup) ")
