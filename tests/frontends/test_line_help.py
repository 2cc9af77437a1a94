"""HELP: everything that can be asked is taught, a screen at a time."""

from __future__ import annotations

from coord.errors import CATALOGUE
from coord.frontends import line_help
from coord.verbs import VERBS
from tests.frontends.test_line import LineCase

WORDS = (
    None,
    "errors",
    *(word.lower() for word in (*line_help._TOPICS, *line_help._GROUPS)),
    *(verb.name for verb in VERBS),
    *CATALOGUE,
)


class Lessons(LineCase):
    """What a person who knows nothing is told."""

    def test_a_screen(self) -> None:
        """Every lesson fits a screen of 24 lines of 78 characters, END included."""
        for word in WORDS:
            reply = self.client.ask(b"HELP %b\n" % (word or "").encode()).splitlines()
            self.assertLessEqual(len(reply), 24, word)
            self.assertLessEqual(max(map(len, reply)), 78, word)
            self.assertTrue(all(line[:4] == b"HELP" for line in reply[:-1]), word)
            self.assertGreater(len(reply), 1)
            self.assertEqual(reply[-1], b"END 0")

    def test_overview(self) -> None:
        """HELP alone names each verb once, in a group, and every word that HELP knows."""
        text = self.client.ask(b"help\n").decode()
        for verb in VERBS:
            self.assertIn(verb.name, text.split())
        for word in (*line_help._TOPICS, *line_help._GROUPS, "ERRORS"):
            self.assertIn(f" {word.lower()}", text)
        grouped = [name for group in line_help._GROUPS.values() for name in group.verbs]
        self.assertEqual(sorted(grouped), sorted(verb.name for verb in VERBS))

    def test_groups(self) -> None:
        """HELP and the name of a group shows how each of its verbs is written."""
        for name, group in line_help._GROUPS.items():
            text = self.client.ask(f"HELP {name}\n".encode()).decode()
            for verb in VERBS:
                self.assertEqual(verb.name in group.verbs, f"HELP {verb.usage()}\n" in text)

    def test_verbs(self) -> None:
        """HELP and a verb, in any case, shows its grammar, options and replies."""
        for verb in VERBS:
            text = self.client.ask(f"HELP {verb.name.lower()}\n".encode()).decode()
            for part in (verb.usage(), verb.help, verb.replies, *(o.help for o in verb.options)):
                self.assertIn(part, text)

    def test_errors(self) -> None:
        """HELP errors lists every code, and HELP and a code explains it."""
        text = self.client.ask(b"HELP errors\n").decode()
        for code in CATALOGUE:
            self.assertIn(code, text.split())
            lesson = self.client.ask(f"HELP {code}\n".encode()).decode()
            self.assertIn(f"HELP {code}: ", lesson)

    def test_rules(self) -> None:
        """The rules that HELP access shows can be set as they stand there."""
        text = self.client.ask(b"HELP access\n").decode()
        rules = [line[7:] for line in text.splitlines() if line.startswith("HELP   ")]
        self.assertEqual(len(rules), 2)
        written = "\n".join(rules)
        reply = self.client.ask(f"SET /ctl/acl {{{len(written)}}}\n{written}\n".encode())
        self.assertTrue(reply.startswith(b"OK "), reply)

    def test_examples(self) -> None:
        """What an example types is understood."""
        for verb in VERBS:
            typed = [line for line in verb.example if not line.startswith("  ")]
            reply = self.connect().ask("".join(f"{line}\n" for line in typed).encode())
            self.assertNotIn(b"BAD_", reply)

    def test_unknown(self) -> None:
        """What there is no help on is said so."""
        for word in (b"frob", b"\xff", b"SETS"):
            self.assertTrue(self.client.ask(b"HELP %b\n" % word).startswith(b"ERR NOENT "))
        self.assertTrue(self.client.ask(b"#t HELP frob\n").startswith(b"#t ERR NOENT "))
