"""The one table of verbs."""

from __future__ import annotations

from typing import get_args

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.commands import (
    PARTS,
    READS,
    WRITES,
    Delete,
    EndSession,
    Genesis,
    Lapse,
    Lock,
    Look,
    Once,
    OpenSession,
    Resume,
    Revert,
    Roster,
    Set,
    Transaction,
    Unlock,
)
from coord.verbs import ONCE, VERBS, Kind, Target, Value

CODEC = msgspec.msgpack.Decoder(commands.Write)


class VerbTests(SynchronousTestCase):
    """Each verb fits the command that it becomes."""

    def test_names(self) -> None:
        """No verb is there twice, and all are in capitals."""
        names = [verb.name for verb in VERBS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(names, [name.upper() for name in names])

    def test_options(self) -> None:
        """Each option fills a field of the command, once, and says what it does."""
        for verb in VERBS:
            fields = {field.name: field for field in msgspec.structs.fields(verb.command)}
            filled = [option.field for option in verb.options]
            self.assertEqual(len(filled), len(set(filled)))
            for option in verb.options:
                self.assertTrue(option.help)
                if option is ONCE:
                    continue
                self.assertIn(option.field, fields)
                self.assertEqual(fields[option.field].required, option.required)
                self.assertTrue(option.help)
                if option.kind is Kind.FLAG:
                    self.assertIs(fields[option.field].default, False)

    def test_targets(self) -> None:
        """What follows the options fills the fields that are left, and nothing is left over."""
        field_of = {
            Target.PATH: "path",
            Target.GLOB: "glob",
            Target.WORD: "verb",
            Target.NAME: "word",
            Target.SECRET: "secret",
        }
        for verb in VERBS:
            wanted = {option.field for option in verb.options if option is not ONCE}
            if verb.target in field_of:
                wanted.add(field_of[verb.target])
            if verb.value is not Value.NONE:
                wanted.add("value")
            if verb.target is Target.CHANGE:
                wanted |= {"deed", "node", "address", "successor", "is_observer"}
            if verb.command is commands.Revert:
                wanted |= {"value", "refusal"}
            self.assertEqual(wanted, {field.name for field in msgspec.structs.fields(verb.command)})

    def test_total(self) -> None:
        """Every command has a verb, but for what nodes say to one another for a client."""
        every = {*get_args(commands.Command)}
        inner = {
            Genesis,
            Roster,
            OpenSession,
            EndSession,
            Lapse,
            Once,
            Transaction,
            Resume,
        }
        self.assertEqual(every - inner, {verb.command for verb in VERBS})

    def test_unions(self) -> None:
        """The lists of writes and reads are what the types say."""
        self.assertEqual(set(WRITES), set(get_args(commands.Write)))
        self.assertEqual(set(READS), set(get_args(commands.Read)))
        self.assertEqual(set(PARTS), set(get_args(commands.Part)))

    def test_usage(self) -> None:
        """A verb's grammar is one line."""
        usage = {verb.name: verb.usage() for verb in VERBS}
        self.assertEqual(usage["SET"], "SET [if=N] [ephemeral] [ttl=S] [id=WORD] /path value")
        self.assertEqual(usage["DEL"], "DEL [if=N] [tree] [id=WORD] /path")
        self.assertEqual(
            usage["WALK"], "WALK [local] [rev=N] [after=/path] [limit=N] [lasting] /glob"
        )
        self.assertEqual(usage["WAIT"], "WAIT [from=N] [timeout=S] /glob")
        self.assertEqual(usage["PING"], "PING")
        self.assertEqual(usage["REVERT"], "REVERT rev=N [if=N] [id=WORD] /path")
        self.assertEqual(usage["OUTCOME"], "OUTCOME WORD")
        self.assertEqual(usage["LOCK"], "LOCK [shared] [wait=S] [delay=S] [id=WORD] /path [value]")

    def test_examples(self) -> None:
        """An example shows its own verb."""
        for verb in VERBS:
            if verb.example:
                self.assertIn(verb.name, " ".join(verb.example))


class WriteTests(SynchronousTestCase):
    """Writes travel."""

    def test_round_trip(self) -> None:
        """A write that travelled is the same write."""
        for write in (
            Genesis("c", (("n1", "h:1"),)),
            Set("/a", b"\x00\xff", 3),
            commands.Add("/a", b"", sequential=True),
            Delete("/a", tree=True),
            OpenSession("5f0e", b"hash", 10_000),
            EndSession("5f0e"),
            Lapse(("a", "b"), (("/a", 3),), (("/l", "a", 1),), (("/l", 9),)),
            Lock("/l", None, shared=True, wait_ms=5),
            Unlock("/l"),
            Transaction((Set("/a", b"1"), commands.Check("/b", token=4), Look("/c"))),
            Revert("/a", 3, None, b"x"),
            Once("w1", Set("/a", b"1", ttl_ms=1500)),
            Roster((("n1", "h:1"), ("n2", "h:2 observer"))),
        ):
            self.assertEqual(CODEC.decode(msgspec.msgpack.encode(write)), write)

    def test_tags(self) -> None:
        """The tags of writes are what they have always been."""
        tags = {kind: kind.__struct_config__.tag for kind in WRITES}
        wanted = {
            Genesis: 0,
            Set: 1,
            commands.Add: 2,
            Delete: 3,
            OpenSession: 4,
            EndSession: 5,
            Lapse: 6,
            Lock: 7,
            Unlock: 8,
            Transaction: 11,
            Revert: 12,
            Once: 13,
            Roster: 14,
        }
        self.assertEqual(tags, wanted)
        self.assertEqual(commands.Check.__struct_config__.tag, 9)
        self.assertEqual(Look.__struct_config__.tag, 10)

    def test_weight(self) -> None:
        """A command weighs at least what it carries."""
        self.assertGreater(commands.weight_bytes([Set("/abc", bytes(1000))]), 1004)
        self.assertGreater(commands.weight_bytes([commands.Watch("/**")]), 3)
