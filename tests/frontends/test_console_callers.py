"""As whom the people at the console ask: by their keys, with the rights of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.conch.ssh.keys import Key

from coord.commands import CLUSTER, Caller, Get, Level, Read, Write
from coord.paths import Glob
from coord.results import Result, Value
from coord.store.watches import Watch
from tests.frontends.console_case import ConsoleCase


class Callers(ConsoleCase):
    """What the store is told of visitors."""

    def setUp(self) -> None:
        """Listen to who asks the coordinator."""
        super().setUp()
        self.asked: list[Caller] = []
        coordinator = self.subjects.coordinator
        submit, watch = coordinator.submit, coordinator.watch

        def submitted(
            commands: Sequence[Write | Read],
            answer: Callable[[Sequence[Result]], None],
            caller: Caller = CLUSTER,
        ) -> None:
            self.asked.append(caller)
            submit(commands, answer, caller)

        def watched(
            glob: Glob, after: int | None, wake: Callable[[], None], caller: Caller = CLUSTER
        ) -> Watch:
            self.asked.append(caller)
            return watch(glob, after, wake, caller)

        self.patch(coordinator, "submit", submitted)
        self.patch(coordinator, "watch", watched)

    def callers(self, key: Key, *lines: str) -> set[tuple[str, int]]:
        """Say lines at the prompt; return the names and levels under which they asked."""
        self.asked.clear()
        visit = self.visit(key)
        shell = visit.shell()
        for line in lines:
            visit.type(shell, f"{line}\r")
            visit.type(shell, b"\x03")
        return {(caller.who, caller.level) for caller in self.asked}

    def test_words(self) -> None:
        """Words ask under the name of the key, an operator's for all, a reader's to read."""
        lines = ("tree /", "watch /**", "tree /\t")
        operator = ("console:alice@laptop", Level.ADMIN)
        self.assertEqual(self.callers(self.operator, *lines), {operator})
        self.assertEqual(self.callers(self.reader, *lines), {("console:bob", Level.READ)})

    def test_python(self) -> None:
        """What an operator does in Python is an operator's, and nobody else's."""
        self.callers(
            self.operator,
            "from coord.commands import Set",
            "coordinator.submit([Set('/by', b'me')], str)",
            "coordinator.rev",
        )
        self.assertEqual(self.asked, [Caller("console:alice@laptop", "unix", Level.ADMIN)])
        self.advance(0.1)
        found: list[Sequence[Result]] = []
        self.subjects.coordinator.submit([Get("/by", local=True)], found.append)
        assert isinstance(found[0][0], Value)
        self.assertEqual(found[0][0].value, b"me")

    def test_names(self) -> None:
        """A key without a comment goes by its fingerprint; a comment is cut where it is endless."""
        for comment, name in (
            ("bob the builder", "bob the builder"),
            ("", "SHA256:"),
            ("x" * 99, "x" * 64),
        ):
            _, path = self.key(f"key{len(comment)}", comment)
            (self.folder / "reader.pub").write_text(path.read_text())
            key = Key.fromString((self.folder / f"key{len(comment)}").read_bytes())
            ((who, level),) = self.callers(key, "tree /")
            self.assertTrue(who.startswith(f"console:{name}"), who)
            self.assertEqual((len(who) < 80, level), (True, Level.READ))

    def test_rules(self) -> None:
        """With rules a reader sees what they grant by its name, an operator sees all."""
        self.write("/open/a", b"shown")
        self.write("/closed", b"hidden")
        self.write("/ctl/acl", b"console:bob read /open/**")
        told = self.visit(self.reader).exec("tree /")
        self.assertIn(b"shown", told.out)
        self.assertNotIn(b"hidden", told.out)
        told = self.visit(self.reader).exec("tree /closed")
        self.assertEqual(told.status, 1)
        self.assertIn(b"DENIED", told.err)
        self.assertIn(b"hidden", self.visit(self.operator).exec("tree /").out)
