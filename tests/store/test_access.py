"""Rules of access: who may do what where."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Level
from coord.errors import BadRequest
from coord.limits import ACL_BYTES_MAX, ACL_RULES_MAX
from coord.paths import Glob
from coord.store import access
from coord.store.access import ACL_KEY, Access, Rules, is_control
from coord.store.tree import Version
from tests.store.strategies import CALM, GLOBS, a_path

READ, WRITE, ADMIN = Level.READ, Level.WRITE, Level.ADMIN


def caller(who: str = "bob", level: Level = Level.WRITE) -> Caller:
    """Return a caller by name."""
    return Caller(who, "h:1", level)


def granted(text: bytes, path: str, who: str = "bob", level: Level = Level.WRITE) -> str:
    """Return the letters of what rules let a caller do at a path."""
    rules = Rules.parse(text)
    one = caller(who, level)
    return "".join(
        letter
        for letter, wanted in (("r", READ), ("w", WRITE), ("a", ADMIN))
        if rules.may(one, wanted, path)
    )


class WithoutRulesTests(SynchronousTestCase):
    """Where there are no rules a caller's own level holds everywhere."""

    def test_levels(self) -> None:
        """Each level includes those below it."""
        for text in (b"", b"\n", b"# nothing\n\n   # here\r\n"):
            self.assertEqual(granted(text, "/a", level=Level.NONE), "")
            self.assertEqual(granted(text, "/a", level=READ), "r")
            self.assertEqual(granted(text, "/a", level=WRITE), "rw")
            self.assertEqual(granted(text, "/a", level=ADMIN), "rwa")

    def test_control(self) -> None:
        """All who read see /ctl; nobody writes there, but an admin the rules."""
        for path in ("/ctl", "/ctl/members/n1", "/ctl/acl/x", "/ctl/aclx"):
            self.assertEqual(granted(b"", path, level=WRITE), "r")
            self.assertEqual(granted(b"", path, level=ADMIN), "r")
        self.assertEqual(granted(b"", "/ctl/acl", level=WRITE), "r")
        self.assertEqual(granted(b"", "/ctl/acl", level=ADMIN), "rwa")
        self.assertEqual(granted(b"", "/ctlx", level=WRITE), "rw")

    def test_open(self) -> None:
        """Who may do it everywhere need not be asked about path by path."""
        rules = Rules.none()
        self.assertTrue(rules.is_open_to(caller(level=READ), READ))
        self.assertFalse(rules.is_open_to(caller(level=READ), WRITE))
        self.assertTrue(rules.is_shut_to(caller(level=Level.NONE)))
        self.assertFalse(rules.is_shut_to(caller(level=READ)))

    def test_shown(self) -> None:
        """Who reads is shown everything, who does not is shown nothing."""
        rules = Rules.none()
        self.assertTrue(rules.shows(caller(level=READ), "/a"))
        self.assertFalse(rules.shows(caller(level=Level.NONE), "/"))
        self.assertTrue(rules.may_match(caller(level=READ), Glob.parse(b"/a/*")))
        self.assertFalse(rules.may_match(caller(level=Level.NONE), Glob.parse(b"/a/*")))


class WithRulesTests(SynchronousTestCase):
    """Where there are rules, they alone say what those below ADMIN may do."""

    def test_exactly(self) -> None:
        """A caller has what the rules grant it, whatever its own level."""
        text = b"bob may write /a/**\nbob may read /b\nann admin /c/*\n"
        for level in (Level.NONE, READ, WRITE):
            self.assertEqual(granted(text, "/a/x", level=level), "rw")
            self.assertEqual(granted(text, "/a", level=level), "")
            self.assertEqual(granted(text, "/b", level=level), "r")
            self.assertEqual(granted(text, "/b/x", level=level), "")
            self.assertEqual(granted(text, "/c/x", level=level), "")
            self.assertEqual(granted(text, "/c/x", "ann", level), "rwa")
            self.assertEqual(granted(text, "/c/x/y", "ann", level), "")

    def test_admins(self) -> None:
        """An admin needs no rule, and none takes anything from it."""
        self.assertEqual(granted(b"bob read /a", "/z", "ann", ADMIN), "rwa")
        self.assertTrue(Rules.parse(b"bob read /a").is_open_to(caller(level=ADMIN), WRITE))

    def test_everybody(self) -> None:
        """A star stands for everybody, also for those who gave no name."""
        text = b"* read /public/**\nanonymous write /inbox/*\nbob write /public/bob"
        self.assertEqual(granted(text, "/public/x", "anonymous", Level.NONE), "r")
        self.assertEqual(granted(text, "/inbox/x", "anonymous", Level.NONE), "rw")
        self.assertEqual(granted(text, "/inbox/x", "bob"), "")
        self.assertEqual(granted(text, "/public/bob", "bob"), "rw")
        self.assertEqual(granted(text, "/public/bob", "ann"), "r")

    def test_control(self) -> None:
        """Rules grant the reading of /ctl and the changing of rules, and no other write there."""
        text = b"bob admin /**\nann write /**\ntom admin /ctl/acl"
        self.assertEqual(granted(text, "/ctl/cluster"), "r")
        self.assertEqual(granted(text, "/ctl/acl"), "rwa")
        self.assertEqual(granted(text, "/ctl/acl", "ann"), "r")
        self.assertEqual(granted(text, "/ctl/acl", "tom"), "rwa")
        self.assertEqual(granted(text, "/a", "tom"), "")
        self.assertEqual(granted(b"bob write /a", "/ctl/cluster"), "")

    def test_everywhere(self) -> None:
        """A rule for all of the tree spares questions."""
        rules = Rules.parse(b"* read /**\nbob write /**")
        self.assertTrue(rules.is_open_to(caller("bob"), WRITE))
        self.assertTrue(rules.is_open_to(caller("ann"), READ))
        self.assertFalse(rules.is_open_to(caller("ann"), WRITE))
        self.assertEqual(granted(b"bob read /**", "/"), "r")

    def test_remembered(self) -> None:
        """An answer that is remembered is that of who asked, for what, and where."""
        self.patch(access, "_KNOWN_MAX", 10)
        rules = Rules.parse(b"bob write /a/*\nann read /a/*")
        for _ in range(2):
            for number in range(8):
                path = f"/a/{number}"
                self.assertTrue(rules.may(caller("bob"), WRITE, path))
                self.assertTrue(rules.may(caller("ann"), READ, path))
                self.assertFalse(rules.may(caller("ann"), WRITE, path))
                self.assertFalse(rules.may(caller("tom"), READ, path))
                self.assertTrue(rules.may(caller("tom", ADMIN), WRITE, path))
                self.assertLessEqual(len(rules._known), 10)
        before = dict(rules._known)
        self.assertFalse(rules.may(caller("bob"), READ, "/b" * 1000))
        self.assertEqual(rules._known, before)

    def test_nothing(self) -> None:
        """Who is not named may do nothing at all."""
        rules = Rules.parse(b"bob read /a/*")
        self.assertTrue(rules.is_shut_to(caller("ann")))
        self.assertFalse(rules.is_shut_to(caller("bob")))
        self.assertFalse(rules.shows(caller("ann"), "/"))


class ShownTests(SynchronousTestCase):
    """What a list shows: what may be read, and the way to what a rule names."""

    def test_the_way(self) -> None:
        """The parents of what a rule names are shown, and what stands beside them is not."""
        rules = Rules.parse(b"bob read /a/b/c/**")
        shown = [path for path in ("/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/x", "/b")
                 if rules.shows(caller(), path)]  # fmt: skip
        self.assertEqual(shown, ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d"])

    def test_wildcards_lead_nowhere(self) -> None:
        """A name that only a wildcard fits is not shown for the sake of what may be below it."""
        rules = Rules.parse(b"bob read /a/*/c")
        self.assertTrue(rules.shows(caller(), "/a"))
        self.assertFalse(rules.shows(caller(), "/a/secret"))
        self.assertTrue(rules.shows(caller(), "/a/secret/c"))

    def test_may_match(self) -> None:
        """A glob is known to match nothing readable where no rule's prefix meets its own."""
        rules = Rules.parse(b"bob read /a/b/**\nbob read /x/*\nbob read /lone")
        for glob, expected in (
            (b"/**", True), (b"/a/**", True), (b"/a/b/c/*", True), (b"/a/c/**", False),
            (b"/a/b/c", True), (b"/a/c", False), (b"/x/y/z*", True), (b"/lone", True),
            (b"/lone/x/*", False), (b"/other*", True), (b"/other/*", False),
        ):  # fmt: skip
            self.assertEqual(rules.may_match(caller(), Glob.parse(glob)), expected, glob)
        self.assertFalse(rules.may_match(caller("ann"), Glob.parse(b"/**")))


class TextTests(SynchronousTestCase):
    """How rules are written."""

    def test_forms(self) -> None:
        """Comments, empty lines, tabs, any case of the words, and any line end."""
        text = b"\n# who\r\n\tbob\tMAY  Read /a\t# why\r\n ann read /b\n"
        self.assertEqual(granted(text, "/a"), "r")
        self.assertEqual(granted(text, "/b", "ann"), "r")
        self.assertEqual(granted(b"bob read /a#b", "/a#b"), "r")
        self.assertEqual(granted(b"may may read /a", "/a", "may"), "r")

    def test_names(self) -> None:
        """A name of several words is written as a path would be."""
        self.assertEqual(granted(b"web%20server%2F1 read /a%20b", "/a b", "web server/1"), "r")
        self.assertEqual(granted("jürg read /ä".encode(), "/ä", "jürg"), "r")
        self.assertEqual(granted(b"%23x read /a", "/a", "#x"), "r")

    def test_bad_lines(self) -> None:
        """A bad line is named by its number."""
        for line in (
            b"bob", b"bob read", b"bob reads /a", b"bob may read /a /b", b"bob can read /a",
            b"bob read a", b"bob read /a//b", b"bob read /%zz", b"bob may read",
            b"b%zz read /a", b"\xff read /a", b"bob read /\xff", b"bob none /a",
            b"bob read " + b"/?" * 40, b"bob read /" + b"a" * 5000,
        ):  # fmt: skip
            with self.assertRaises(BadRequest, msg=repr(line)) as raised:
                Rules.parse(b"bob read /a\n\n" + line + b"\nbob bad")
            self.assertTrue(raised.exception.text.startswith("line 3: "), raised.exception.text)

    def test_bounds(self) -> None:
        """There are bounds for the number of rules and for their text."""
        Rules.parse(b"bob read /a\n" * ACL_RULES_MAX)
        with self.assertRaises(BadRequest) as raised:
            Rules.parse(b"bob read /a\n" * (ACL_RULES_MAX + 1))
        self.assertIn(f"line {ACL_RULES_MAX + 1}: ", raised.exception.text)
        Rules.parse(b"#" * ACL_BYTES_MAX)
        self.assertRaises(BadRequest, Rules.parse, b"#" * (ACL_BYTES_MAX + 1))

    @given(st.binary(max_size=200))
    @CALM
    def test_junk(self, text: bytes) -> None:
        """Whatever is written there, it is rules or refused as such."""
        try:
            Rules.parse(text)
        except BadRequest as error:
            self.assertTrue(error.text.startswith("line "))


class AccessTests(SynchronousTestCase):
    """The rules of a tree, as they are now."""

    def setUp(self) -> None:
        """Begin without rules."""
        self.live: dict[str, Version] = {}
        self.access = Access(self.live)

    def put(self, value: bytes | None, rev: int = 1) -> None:
        """Write the rules, without a look at them."""
        self.live[ACL_KEY] = Version(ACL_KEY, rev, rev, value, 1, 1, 0, 0, None)

    def test_follows(self) -> None:
        """Rules hold from the moment they are written until they go."""
        self.assertTrue(self.access.rules.may(caller(), WRITE, "/a"))
        self.put(b"ann write /a")
        self.assertFalse(self.access.rules.may(caller(), READ, "/a"))
        self.put(b"bob read /a", 2)
        self.assertTrue(self.access.rules.may(caller(), READ, "/a"))
        del self.live[ACL_KEY]
        self.assertTrue(self.access.rules.may(caller(), WRITE, "/a"))

    def test_parsed_once(self) -> None:
        """The same text is not parsed again."""
        self.put(b"bob read /a")
        rules = self.access.rules
        self.assertIs(self.access.rules, rules)
        self.put(b"bob read /a", 2)
        self.assertIs(self.access.rules, rules)

    def test_looked_over(self) -> None:
        """A text is looked at before it is written, and what was made of it then is used."""
        refusal = self.access.refusal(b"bob read /a\nbob may")
        self.assertIsInstance(refusal, BadRequest)
        self.assertTrue(self.access.rules.may(caller(), WRITE, "/a"))
        self.assertIsNone(self.access.refusal(b"bob read /a"))
        self.assertTrue(self.access.rules.may(caller(), WRITE, "/a"))
        self.patch(Rules, "parse", lambda *_: self.fail("parsed twice"))
        self.put(b"bob read /a")
        self.assertFalse(self.access.rules.may(caller(), WRITE, "/a"))
        self.assertTrue(self.access.rules.may(caller(), READ, "/a"))

    def test_without_value(self) -> None:
        """A node without a value holds no rules."""
        self.put(None)
        self.assertTrue(self.access.rules.may(caller(), WRITE, "/a"))

    def test_unreadable(self) -> None:
        """Text that makes no sense opens nothing to anybody but admins."""
        self.put(b"what?")
        self.assertFalse(self.access.rules.may(caller(), READ, "/a"))
        self.assertTrue(self.access.rules.is_shut_to(caller()))
        self.assertTrue(self.access.rules.may(caller(level=ADMIN), WRITE, "/a"))


def _twin(rules: list[tuple[str, Level, bytes]], one: Caller, level: Level, path: str) -> bool:
    """Say what `Rules.may` says, rule by rule."""
    if level > READ and is_control(path):
        if path != "/ctl/acl":
            return False
        level = ADMIN
    if one.level == ADMIN:
        return True
    if not rules:
        return one.level >= level
    return any(
        who in ("*", one.who) and granted >= level and Glob.parse(glob).matches(path)
        for who, granted, glob in rules
    )


class TwinTests(SynchronousTestCase):
    """The index of rules answers as a look at every rule would."""

    @given(st.integers(0, 2**32).map(Random))
    @CALM
    def test_twin(self, dice: Random) -> None:
        """What may be done is what some rule grants, whatever the rules."""
        globs = [
            *(glob.encode() for glob in GLOBS), b"/ctl/**", b"/ctl/acl", b"/b/**", b"/a/?/**",
            b"/***", b"/a/b", b"/**/a", b"/a/**/b", b"/*/**",
        ]  # fmt: skip
        levels = (READ, WRITE, ADMIN)
        drawn = [
            (
                dice.choice(("*", "bob", "ann")),
                dice.choice((READ, WRITE, ADMIN)),
                dice.choice(globs),
            )
            for _ in range(dice.choice((0, 1, 2, 4, 8)))
        ]
        text = b"\n".join(
            b"%b %b %b" % (who.encode(), level.name.lower().encode(), glob)
            for who, level, glob in drawn
        )
        rules = Rules.parse(text)
        for _ in range(60):
            path = dice.choice((a_path(dice), a_path(dice), "/", "/ctl", "/ctl/acl", "/ctl/x"))
            one = caller(dice.choice(("bob", "ann", "tom")), dice.choice(list(Level)))
            for level in levels:
                expected = _twin(drawn, one, level, path)
                for _ in range(2):
                    answer = rules.may(one, level, path)
                    self.assertEqual(answer, expected, (text, one, level, path))
                if rules.is_open_to(one, level) and not (level > READ and is_control(path)):
                    self.assertTrue(expected)
            glob = Glob.parse(dice.choice(globs))
            self.assertEqual(rules.sees(one, path), _twin(drawn, one, READ, path))
            if _twin(drawn, one, READ, path):
                self.assertFalse(rules.is_shut_to(one))
                self.assertTrue(rules.shows(one, path))
                if glob.matches(path):
                    self.assertTrue(rules.may_match(one, glob))
