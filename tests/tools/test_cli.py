"""``coord``, the command: its words, what it does with a store, and what it prints."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from coord.client import Member
from coord.errors import Aborted, CoordError, NoEntry, TimedOut
from coord.events import Event, Kind
from coord.results import Row
from coord.testing import MemoryClient
from coord.tools.cli import main
from coord.tools.cli_completion import script
from coord.tools.cli_output import Output
from coord.tools.cli_transaction import transaction_of
from coord.tools.cli_verbs import environment, perform
from coord.tools.cli_words import COMMANDS, parser
from coord.tools.running import Usage
from coord.verbs import VERBS


class Store(SynchronousTestCase):
    """Commands against a store in memory."""

    def setUp(self) -> None:
        """Make a store with a few nodes."""
        self.client = MemoryClient()
        self.notes: list[str] = []
        self.ran: list[tuple[str, Event]] = []
        self.status = 0
        for path, value in (("/message", b"hello, world"), ("/bin", b"\0\xff\n"), ("/a b", b"")):
            self.successResultOf(self.client.set(path, value))

    def run_later(
        self, *words: str, value: bytes | None = None
    ) -> tuple[Deferred[int], io.BytesIO]:
        """Begin a command; return its outcome to be, and what it prints."""
        out = io.BytesIO()
        given = parser().parse_args(words)

        def run(command: str, event: Event) -> Deferred[int]:
            self.ran.append((command, event))
            return succeed(self.status)

        output = Output(out, as_json=given.json, is_terminal=False)
        doing = perform(self.client, given, value, output, self.notes.append, run)
        return ensureDeferred(doing), out

    def run_now(self, *words: str, value: bytes | None = None) -> str:
        """Return what a command prints."""
        done, out = self.run_later(*words, value=value)
        self.assertEqual(self.successResultOf(done), 0)
        return out.getvalue().decode()

    def refusal(self, *words: str) -> CoordError:
        """Return what the store has against a command."""
        done, _ = self.run_later(*words)
        error: CoordError = self.failureResultOf(done, CoordError).value
        return error

    def test_get(self) -> None:
        """A value comes with a line end, or with ``--raw`` as it is."""
        self.assertEqual(self.run_now("get", "/message"), "hello, world\n")
        self.assertEqual(self.run_now("get", "--raw", "/message"), "hello, world")
        self.assertIsInstance(self.refusal("get", "/none"), NoEntry)

    def test_past(self) -> None:
        """Options are those of the line protocol."""
        self.run_now("set", "/message", value=b"later")
        self.assertEqual(self.run_now("get", "--rev", "1", "/message"), "hello, world\n")

    def test_writes(self) -> None:
        """A write prints its revision, and the name where the store chose it."""
        self.assertEqual(self.run_now("set", "/x", value=b"1"), "4\n")
        self.assertEqual(self.run_now("set", "--if", "4", "/x", value=b"2"), "5\n")
        self.assertEqual(self.refusal("del", "--if", "4", "/x").code, "REV_MISMATCH")
        self.assertEqual(self.run_now("add", "--seq", "/j/n", value=b""), "/j/n0000000001\t6\n")
        self.assertEqual(self.run_now("del", "--tree", "/j"), "7\n")

    def test_rows(self) -> None:
        """Rows are fields between tabs, and paths can be typed again."""
        self.assertEqual(self.run_now("ls", "/"), "a%20b\nbin\nmessage\n")
        self.assertEqual(
            self.run_now("walk", "/**"),
            "/a%20b\t3\t\n/bin\t2\t\\=AP8K\n/message\t1\thello, world\n",
        )
        self.assertEqual(self.run_now("get", "/a%20b"), self.run_now("get", "/a b"))
        self.assertEqual(self.run_now("walk", "--limit", "1", "--after", "/a b", "/**")[:4], "/bin")
        self.assertEqual(self.run_now("rev"), "3\n")

    def test_json(self) -> None:
        """JSON is one object a line, with bytes that are no text in Base64."""
        rows = [json.loads(line) for line in self.run_now("walk", "--json", "/**").splitlines()]
        self.assertEqual(
            rows,
            [
                {"path": "/a b", "rev": 3, "value": ""},
                {"path": "/bin", "rev": 2, "value_base64": "AP8K"},
                {"path": "/message", "rev": 1, "value": "hello, world"},
            ],
        )
        for words, wanted in (
            (("get", "/message"), {"path": "/message", "rev": 1, "value": "hello, world"}),
            (("rev",), {"rev": 3}),
        ):
            self.assertEqual(json.loads(self.run_now(words[0], "--json", *words[1:])), wanted)
        self.assertEqual(json.loads(self.run_now("stat", "--json", "/message"))["size_bytes"], 12)
        self.assertEqual(self.run_now("ls", "--json", "/").splitlines()[0], '{"name": "a b"}')
        told = self.run_now("wait", "--json", "--from", "2", "/**")
        self.assertEqual(json.loads(told), {"rev": 3, "event": "set", "path": "/a b", "value": ""})

    def test_status_json(self) -> None:
        """Numbers of a status are numbers; what only looks like one is text, and so is ``-``."""
        out = io.BytesIO()
        Output(out, as_json=True).status(
            {"cluster": "2026", "digest": "0017", "rev": "5", "uptime": "1.5", "behind": "-"}
        )
        self.assertEqual(
            out.getvalue(),
            b'{"cluster": "2026", "digest": "0017", "rev": 5, "uptime": 1.5, "behind": "-"}\n',
        )
        self.assertEqual(json.loads(self.run_now("status", "--json"))["rev"], 3)
        self.assertIn("rev=3\n", self.run_now("status"))

    def test_status_items(self) -> None:
        """Items that are named come alone: for scripts, in the order asked for, ``-`` for none."""
        self.assertEqual(self.run_now("status", "rev", "node", "moon"), "3\nmemory\n-\n")
        self.assertEqual(self.run_now("status", "--json", "node"), '{"node": "memory"}\n')

    def test_every_json(self) -> None:
        """Whatever a command prints as JSON is JSON."""
        needs = {"get": ["/message"], "stat": ["/message"], "ls": ["/"], "walk": ["/**"],
                 "wait": ["--from", "1", "/**"], "watch": ["--from", "1", "--count", "2", "/**"],
                 "set": ["/new"], "add": ["/newer"], "del": ["/new"], "log": ["/**"],
                 "blame": ["/message"], "revert": ["--rev", "1", "/message"]}  # fmt: skip
        for name in COMMANDS:
            value = b"x" if name in ("set", "add") else None
            for line in self.run_now(
                name, "--json", *needs.get(name, []), value=value
            ).splitlines():
                self.assertIsInstance(json.loads(line), dict)

    def test_authors(self) -> None:
        """Who changed what is a row each: revision, path, verb, author and time in UTC."""
        rows = [row.split("\t") for row in self.run_now("log", "/**").splitlines()]
        self.assertEqual(rows[0][:3], ["3", "/a%20b", "SET"])
        self.assertEqual([row[0] for row in rows], ["3", "2", "1"])
        self.assertRegex(rows[0][4], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(len(self.run_now("log", "--limit", "1", "/**").splitlines()), 1)
        self.assertEqual(self.run_now("blame", "/bin").split("\t")[0], "2")
        told = json.loads(self.run_now("blame", "--json", "/a b"))
        self.assertEqual((told["rev"], told["path"], told["verb"]), (3, "/a b", "SET"))

    def test_revert(self) -> None:
        """A node has again what it held, as an ordinary write."""
        self.run_now("set", "/message", value=b"new")
        self.assertEqual(self.run_now("revert", "--rev", "1", "/message"), "5\n")
        self.assertEqual(self.run_now("get", "/message"), "hello, world\n")
        self.assertEqual(self.refusal("revert", "--rev", "1", "--if", "4", "/message").code,
                         "REV_MISMATCH")  # fmt: skip

    def test_lifetime(self) -> None:
        """A node may have a lifetime, in seconds."""
        self.run_now("set", "--ttl", "1.5", "/t", value=b"")
        self.assertEqual(json.loads(self.run_now("stat", "--json", "/t"))["ttl_seconds"], 1.5)

    def test_transaction(self) -> None:
        """Lines of the line protocol are done at one revision; what was read comes first."""
        lines = b"BEGIN\nCHECK if=1 /message\nGET /message\nGET /none\nADD seq /j/n x\nCOMMIT\n"
        told = self.run_now("txn", value=lines)
        self.assertEqual(told, "1\thello, world\nNOENT /none is not there\n/j/n0000000001\n4\n")
        lines = b"GET /bin\r\nSET /bin {2}\n\t\n\n"
        told = json.loads(self.run_now("txn", "--json", value=lines))
        self.assertEqual(told, {"rev": 5, "rows": [{"rev": 2, "value_base64": "AP8K"}]})
        self.assertEqual(self.run_now("get", "--raw", "/bin"), "\t\n")
        done, _ = self.run_later("txn", value=b"SET /x 1\nCHECK if=0 /bin")
        self.assertTrue(self.failureResultOf(done, Aborted).value.text.startswith("2 REV_MISMATCH"))

    def test_stat(self) -> None:
        """The facts of a node are ``name=value``."""
        self.assertIn("size_bytes=12\n", self.run_now("stat", "/message"))

    def test_watch(self) -> None:
        """A watch prints changes as they come, and ends after ``--count``."""
        done, out = self.run_later("watch", "--count", "2", "/**")
        self.successResultOf(self.client.set("/n", b"two\nlines"))
        self.assertEqual(out.getvalue(), b"4\tset\t/n\ttwo\\nlines\n")
        self.assertNoResult(done)
        self.successResultOf(self.client.delete("/n"))
        self.assertEqual(self.successResultOf(done), 0)
        self.assertTrue(out.getvalue().endswith(b"\n5\tdel\t/n\n"))

    def test_watch_exec(self) -> None:
        """A command is run for each change, in order; one that fails is told of."""
        self.status = 3
        self.run_now("watch", "--from", "1", "--count", "2", "--exec", "do it", "/**")
        self.assertEqual(
            self.ran,
            [
                ("do it", Event(2, Kind.SET, "/bin", b"\0\xff\n")),
                ("do it", Event(3, Kind.SET, "/a b", b"")),
            ],
        )
        self.assertEqual(self.notes[0], "revision 2: the command ended with status 3")
        self.assertEqual(
            environment(self.ran[1][1], {"HOME": "x"}),
            {"HOME": "x", "COORD_PATH": "/a%20b", "COORD_REV": "3", "COORD_EVENT": "set"},
        )

    def test_one_command_at_a_time(self) -> None:
        """The next change waits until the command for the one before has ended."""
        slow: list[Deferred[int]] = []

        def run(command: str, event: Event) -> Deferred[int]:
            slow.append(Deferred())
            return slow[-1]

        given = parser().parse_args(["watch", "--from", "1", "--count", "2", "--exec", "x", "/**"])
        out = Output(io.BytesIO(), is_terminal=False)
        done = ensureDeferred(perform(self.client, given, None, out, self.notes.append, run))
        self.assertEqual(len(slow), 1)
        slow[0].callback(0)
        self.assertEqual(len(slow), 2)
        slow[1].callback(0)
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(self.notes, [])

    def test_wait(self) -> None:
        """A wait ends with the first change, or when its time is over."""
        done, out = self.run_later("wait", "--timeout", "5", "/n")
        self.successResultOf(self.client.set("/n", b"1"))
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(out.getvalue(), b"4\tset\t/n\t1\n")
        done, out = self.run_later("wait", "--timeout", "5", "/n")
        self.client.clock.advance(5)
        self.failureResultOf(done, TimedOut)


class Terminal(SynchronousTestCase):
    """What a person sees."""

    def printed(self, tell: Callable[[Output], None], width: int = 40) -> str:
        """Return what something prints on a terminal."""
        out = io.BytesIO()
        tell(Output(out, is_terminal=True, width=width))
        return out.getvalue().decode()

    def test_columns(self) -> None:
        """Columns are straight, and a long line is cut at the terminal's edge."""
        rows = [Row("/a", 10, b"x"), Row("/longer", 5, b"y" * 99)]
        first, second = self.printed(lambda out: out.rows(rows)).splitlines()
        self.assertEqual(first, "/a       10  x")
        self.assertTrue(second.startswith("/longer  5   yyy"))
        self.assertEqual((len(second), second[-1]), (40, "\u2026"))
        self.assertEqual(self.printed(lambda out: out.rows([])), "")

    def test_times(self) -> None:
        """Times are such as people read."""
        client = MemoryClient()
        client.clock.advance(1_795_155_758)
        self.successResultOf(client.set("/a/b", b""))
        facts = self.successResultOf(client.stat("/a/b"))
        text = self.printed(lambda out: out.facts(facts))
        self.assertRegex(text, r"created at +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\n")
        root = self.successResultOf(client.stat("/"))
        self.assertRegex(self.printed(lambda out: out.facts(root)), r"created at +-\n")

    def test_members(self) -> None:
        """The members are a table."""
        members = [Member("n1", "h:1", "voter", is_up=True), Member("n10", "h:2", "voter", False)]
        self.assertEqual(
            self.printed(lambda out: out.members(members)).splitlines(),
            ["n1   h:1  voter  up", "n10  h:2  voter  down"],
        )

    def test_event_cannot_write_to_the_screen(self) -> None:
        """What a value holds never reaches the terminal as control bytes."""
        event = Event(1, Kind.SET, "/a\x1b[2J", b"\x1b[31mred\x07")
        text = self.printed(lambda out: out.event(event), 99)
        self.assertEqual(text, "1  set  /a%1B[2J  \\x1b[31mred\\x07\n")


class Words(SynchronousTestCase):
    """The command line itself."""

    def complaint(self, *words: str) -> str:
        """Return the complaint about a command line that makes no sense."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as left:
                status = int(left.code or 0)
        self.assertEqual((status, out.getvalue()), (2, ""))
        return err.getvalue()

    def test_table(self) -> None:
        """Every option of every verb is an option of its command, but what a session is for."""
        by_name = {verb.name: verb for verb in VERBS}
        for name, verb in COMMANDS.items():
            completed = script("bash", parser()).split(f"            {name}) words=")[1]
            for option in by_name[verb].options:
                if option.name in ("ephemeral", "lasting", "id"):
                    continue
                self.assertIn(f"--{option.name}", completed.split(" ;;")[0])

    def test_usage(self) -> None:
        """What makes no sense is said in a line, before any server is asked."""
        for words in (
            ("get", "message"),
            ("get", "/a//b"),
            ("get",),
            ("get", "--rev", "-1", "/a"),
            ("walk", "**"),
            ("walk", "--limit", "0", "/**"),
            ("wait", "--timeout", "soon", "/a"),
            ("get", "--server", "nowhere", "/a"),
            ("get", "--server", "h:99999", "/a"),
            ("del", "/a", "value"),
            ("completion", "fish"),
            ("revert", "/a"),
            ("set", "--ttl", "soon", "/a"),
            ("set", "--ephemeral", "/a", "x"),
            ("lock", "/a"),
            ("lock", "/a", "--"),
            ("lock", "a", "--", "true"),
            ("elect", "/a", "--shared", "--", "true"),
            ("watch", "--from", "1", "--diff", "--exec", "true", "/**"),
            ("get", "--tls-key", "key", "/a"),
        ):
            self.assertRegex(self.complaint(*words), r"coord[a-z ]*: [^\n]+\n\Z")

    def test_options_before_the_command(self) -> None:
        """What every command takes stands before it, too, and both are heard."""
        given = parser().parse_args(
            ["--server", "a:1", "--json", "--request-timeout", "2", "get", "/x", "--server", "b:2"]
        )
        self.assertEqual((given.server_first, given.server), (["a:1"], ["b:2"]))
        self.assertEqual((given.json, given.request_timeout), (True, 2.0))
        given = parser().parse_args(["get", "/x"])
        self.assertEqual((given.json, given.request_timeout, given.server), (False, 5.0, None))
        self.assertIn("'nowhere' is no server", self.complaint("--server", "nowhere", "get", "/a"))

    def test_options_anywhere(self) -> None:
        """Options stand between and after operands; after ``--`` a word is a word."""
        for words in (
            ("--if", "3", "/a", "x", "y"),
            ("/a", "--if", "3", "x", "y"),
            ("/a", "x", "--if", "3", "y"),
            ("/a", "x", "y", "--if", "3"),
        ):
            given = parser().parse_args(["set", *words])
            self.assertEqual((given.target, given.value, given.if_rev), ("/a", ["x", "y"], 3))
        given = parser().parse_args(["set", "/a", "--", "--json", "-5"])
        self.assertEqual((given.value, given.json), (["--json", "-5"], False))
        self.assertEqual(parser().parse_args(["set", "/a", "-5"]).value, ["-5"])
        self.assertIn("--iff", self.complaint("set", "/a", "--iff", "3", "x"))

    def test_command_to_run(self) -> None:
        """What follows the first ``--`` is the command, whatever it looks like."""
        given = parser().parse_args(["lock", "--wait", "0", "/a", "--", "env", "--", "--wait", "x"])
        self.assertEqual((given.target, given.wait), ("/a", 0.0))
        self.assertEqual(given.run, ["env", "--", "--wait", "x"])
        given = parser().parse_args(["elect", "/a", "--value", "me", "--json", "--", "true"])
        self.assertEqual((given.value, given.wait, given.run), ("me", None, ["true"]))

    def test_transactions_that_are_none(self) -> None:
        """A line that has no place in a transaction is named."""
        for lines, said in (
            (b"", "wants lines"),
            (b"BEGIN\nCOMMIT\n", "wants lines"),
            (b"SET /a 1\nWATCH /**\n", "line 2: a transaction has no WATCH"),
            (b"SET /a 1\nSET a 1\n", "line 2:"),
            (b"SET ephemeral /a 1\n", "line 1: an ephemeral node"),
            (b"#t SET /a 1\n", "line 1: tags"),
            (b"GET local /a\n", "line 1: a transaction has no GET"),
            (b"SET /a {5}\nab", "line 1: the input ended"),
        ):
            with self.assertRaises(Usage) as caught:
                transaction_of(lines)
            self.assertIn(said, str(caught.exception))

    def test_completion(self) -> None:
        """Both shells are given every command."""
        for shell in ("bash", "zsh"):
            text = script(shell, parser())
            for name in (*COMMANDS, "init", "recover", "completion"):
                self.assertIn(name, text)
            self.assertNotIn("@", text.replace("${words[@]}", ""))


class Streams(SynchronousTestCase):
    """What a parent did not leave open."""

    def test_closed(self) -> None:
        """Closed standard input or output is an empty one, and no traceback."""
        program = f"{shlex.quote(sys.executable)} -m coord.tools.cli"
        words = "--server 127.0.0.1:1 --request-timeout 0.1"
        for line in (f"set /a {words} <&-", f"get /a {words} >&-"):
            ended = subprocess.run(
                ["/bin/sh", "-c", f"{program} {line}"],
                stderr=subprocess.PIPE,
                check=False,
                timeout=60,
            )
            self.assertEqual(ended.returncode, 3)
            self.assertEqual(ended.stderr.count(b"\n"), 1, ended.stderr)


class Completion(SynchronousTestCase):
    """Completion as bash does it; zsh is not to be had everywhere."""

    def complete(self, *words: str) -> list[str]:
        """Return what bash offers for the last word."""
        fake = 'coord() { [ "$2" = / ] && echo jobs || echo job-1; }\n'
        line = " ".join(shlex.quote(word) for word in ("coord", *words))
        asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _coord; printf '%s\\n' "
        ended = subprocess.run(
            ["bash", "-c", script("bash", parser()) + fake + asked + '"${COMPREPLY[@]}"'],
            capture_output=True,
            check=True,
            timeout=60,
        )
        return ended.stdout.decode().split()

    def test_bash(self) -> None:
        """Commands, their options, and paths are completed."""
        if shutil.which("bash") is None:
            raise SkipTest("no bash here")
        self.assertEqual(self.complete("wa"), ["walk", "watch", "wait"])
        self.assertEqual(self.complete("watch", "--e"), ["--exec"])
        self.assertEqual(self.complete("get", "/jo"), ["/jobs"])
        self.assertEqual(self.complete("get", "/jobs/j"), ["/jobs/job-1"])
        self.assertEqual(self.complete("get", "/none"), [])
