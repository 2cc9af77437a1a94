"""The command line of ``twistd coord``."""

from __future__ import annotations

from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from coord.node.options import OPTIONS
from coord.node.settings import Refused
from coord.node.tap import Options, refusal


def told(*words: str) -> Options:
    """Return the options that a command line gives."""
    options = Options()
    options.parseOptions(list(words))
    return options


class CommandLine(SynchronousTestCase):
    """What is typed after ``twistd coord``."""

    def test_nothing(self) -> None:
        """Without options a node has all defaults."""
        self.assertEqual(told().settings().node, "n1")

    def test_repeatable(self) -> None:
        """Listeners and peers can be given more than once."""
        settings = told("--listen", "unix:a", "--listen", "unix:b").settings()
        self.assertEqual(settings.listen, ("unix:a", "unix:b"))

    def test_flags(self) -> None:
        """A flag says yes by being there."""
        self.assertFalse(told("--no-leases").settings().leases)
        self.assertTrue(told().settings().leases)
        tls = [f"--{name}=x" for name in ("ca", "certificate", "key")]
        words = ["--peer-listen=tcp:1:interface=127.0.0.1", "--peer=n2=localhost:2", *tls]
        self.assertTrue(told("--observer", *words).settings().observer)
        self.assertTrue(told("--join", *words).settings().join)

    def test_above_the_file(self) -> None:
        """The command line stands above the file, option by option."""
        path = Path(self.mktemp())
        path.write_text('node = "n5"\nlisten = ["unix:a"]\nlease = 2\n')
        settings = told("--config", str(path), "--lease", "3", "--listen", "unix:b").settings()
        self.assertEqual(settings.node, "n5")
        self.assertEqual(settings.lease_seconds, 3.0)
        self.assertEqual(settings.listen, ("unix:b",))

    def test_every_option(self) -> None:
        """Every option of the table can be typed, and is in the help."""
        page = str(Options())
        for option in OPTIONS:
            self.assertIn(f"--{option.name}", page)

    def test_wrong(self) -> None:
        """What is wrong ends the program with one line and status 1."""
        for words in (("--colour", "red"), ("word",), ("--lease",), ("--open=yes",)):
            left = self.assertRaises(SystemExit, told, *words)
            self.assertRegex(str(left.code), r"\Acoord: [^\n]+\Z")

    def test_later(self) -> None:
        """What is not in this version is refused also where it stands on the command line."""
        for words in (("--console", "tcp:1"), ("--zookeeper", "tcp:1")):
            self.assertRaises(Refused, told(*words).settings)

    def test_pid_file(self) -> None:
        """Nodes in the foreground share a folder: only a daemon has a pid file unasked."""
        for words, file in (
            (("--nodaemon",), ""),
            ((), "twistd.pid"),
            (("--nodaemon", "--pidfile", "mine"), "mine"),
        ):
            above = ServerOptions()
            above.parseOptions([*words, "coord"])
            self.assertEqual(Path(above["pidfile"]).name, file)

    def test_one_line(self) -> None:
        """A refusal is one line, whatever is in it."""
        self.assertEqual(refusal("a\nb   c"), "coord: a b c")

    def test_plugin(self) -> None:
        """Twisted finds the plugin."""
        self.assertIn("coord", [plugin.tapname for plugin in getPlugins(IServiceMaker)])
