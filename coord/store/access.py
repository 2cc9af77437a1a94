"""Who may do what where: the rules that stand in ``/ctl/acl``, as they are at present.

The node holds text, one rule a line::

    # who  [may]  read|write|admin  glob
    alice  may    write             /services/**
    *      may    read              /public/**

Each level includes those below it. ``who`` is the name of a secret or of a certificate,
``anonymous``, or ``*`` for everybody, and is percent-encoded as a path is; a word that begins
with ``#`` begins a comment.

* A caller of level ADMIN may do everything, whatever the rules say.
* Where there is no rule at all, what a caller may do is its level, everywhere.
* Where there are rules, all others may do exactly what the rules grant them.
* Below ``/ctl`` nobody writes but the cluster, except for the rules themselves, which want ADMIN.

Rules are found by the literal prefixes of their globs, so that a question costs a look at each
part of a path, and not at each rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from coord.commands import Caller, Level
from coord.errors import BadRequest, CoordError
from coord.limits import ACL_BYTES_MAX, ACL_RULES_MAX
from coord.paths import CONTROL, ROOT, Glob, order_key
from coord.store.tree import Version

ACL: Final = f"{CONTROL}/acl"
"""The node that holds the rules."""
ACL_KEY: Final = order_key(ACL)
EVERYBODY: Final = "*"

_LEVELS: Final = {b"read": Level.READ, b"write": Level.WRITE, b"admin": Level.ADMIN}
_READ: Final = int(Level.READ)  # an enumeration's members are slow to look up
_ADMIN: Final = int(Level.ADMIN)
_KNOWN_MAX: Final = 8192
"""Answers that are remembered, of callers who ask for the same paths again and again."""
_KNOWN_LETTERS_MAX: Final = 512
"""Longest path in them."""
_BELOW_CONTROL: Final = CONTROL + "/"
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_FORM: Final = "a rule is: who [may] read|write|admin /glob"


class Rule(msgspec.Struct, frozen=True):
    """One line: ``who`` may do what ``level`` says with what matches ``glob``."""

    who: str
    level: Level
    glob: Glob


class Rules:
    """All rules of one text; they never change, so an answer may be remembered."""

    __slots__ = ("_is_empty", "_known", "_reaches")

    def __init__(self, rules: Iterator[Rule], *, is_empty: bool = False) -> None:
        self._is_empty = is_empty
        self._known: dict[tuple[str, int, str], bool] = {}
        # The place of a level in this tuple is the level; nobody asks for NONE.
        self._reaches: tuple[dict[str, _Reach], ...] = ({}, {}, {}, {})
        for rule in rules:
            self._is_empty = False
            for level in range(_READ, rule.level + 1):
                self._reaches[level].setdefault(rule.who, _Reach()).add(rule.glob)

    @classmethod
    def parse(cls, text: bytes) -> Rules:
        """Return the rules of a text; `BadRequest` names the line that is none."""
        if len(text) > ACL_BYTES_MAX:
            raise BadRequest(f"the rules of access have at most {ACL_BYTES_MAX} bytes")
        return cls(_parsed(text), is_empty=True)

    @classmethod
    def none(cls) -> Rules:
        """Return what holds where there is no rule: everybody's own level."""
        return cls(iter(()), is_empty=True)

    @classmethod
    def closed(cls) -> Rules:
        """Return rules that grant nothing to anybody."""
        return cls(iter(()))

    def may(self, caller: Caller, level: int, path: str) -> bool:
        """Say whether a caller may do at ``path`` what ``level`` says; remembered for a while."""
        if self._is_empty or caller.level >= _ADMIN:
            return self._decide(caller, level, path)
        question = caller.who, level, path
        answer = self._known.get(question)
        if answer is None:
            answer = self._decide(caller, level, path)
            if len(path) <= _KNOWN_LETTERS_MAX:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[question] = answer
        return answer

    def sees(self, caller: Caller, path: str) -> bool:
        """Say whether a caller may read ``path``, one of many that are asked for once."""
        return self._grants(caller, _READ, path)

    def is_open_to(self, caller: Caller, level: int) -> bool:
        """Say whether a caller may do it everywhere (to write: outside of ``/ctl``)."""
        if caller.level >= _ADMIN:
            return True
        if self._is_empty:
            return caller.level >= level
        return any(reach.is_everywhere for reach in self._of(caller, level))

    def shows(self, caller: Caller, path: str) -> bool:
        """Say whether a caller may know of ``path``: may read it, or a rule names what is below.

        Not where only wildcards lead there: that would show every name which might fit.
        """
        if self._grants(caller, _READ, path):
            return True
        return not self._is_empty and any(
            reach.leads_through(path) for reach in self._of(caller, _READ)
        )

    def may_match(self, caller: Caller, glob: Glob) -> bool:
        """Say whether a caller might be able to read something that matches, now or later."""
        if glob.literal:
            return self._grants(caller, _READ, glob.prefix)
        if self._is_empty or caller.level >= _ADMIN:
            return caller.level >= _READ
        return any(reach.meets(glob.prefix) for reach in self._of(caller, _READ))

    def is_shut_to(self, caller: Caller) -> bool:
        """Say whether a caller may read nothing at all."""
        if self._is_empty or caller.level >= _ADMIN:
            return caller.level < _READ
        return not any(self._of(caller, _READ))

    def _decide(self, caller: Caller, level: int, path: str) -> bool:
        if level > _READ and is_control(path):
            return path == ACL and self._grants(caller, _ADMIN, path)
        return self._grants(caller, level, path)

    def _grants(self, caller: Caller, level: int, path: str) -> bool:
        if caller.level >= _ADMIN:
            return True
        if self._is_empty:
            return caller.level >= level
        reaches = self._reaches[level]
        own, shared = reaches.get(caller.who), reaches.get(EVERYBODY)
        return (own is not None and own.holds(path)) or (shared is not None and shared.holds(path))

    def _of(self, caller: Caller, level: int) -> list[_Reach]:
        """Return what the rules grant a caller: to itself, and to everybody."""
        reaches = self._reaches[level]
        return [reaches[who] for who in (caller.who, EVERYBODY) if who in reaches]


class Access:
    """The rules that stand in a tree, parsed again only when they have changed.

    :param live: the present version of every node.
    """

    __slots__ = ("_live", "_proposed", "_rules", "_value", "_version")

    def __init__(self, live: Mapping[str, Version]) -> None:
        self._live = live
        self._version: Version | None = None
        self._value: bytes | None = None
        self._rules = Rules.none()
        self._proposed: tuple[bytes, Rules] = b"", self._rules

    def refusal(self, text: bytes) -> CoordError | None:
        """Return what speaks against a text in the place of the rules; `BadRequest` names the line.

        Rules that are fine are kept at hand: they are parsed once.
        """
        try:
            self._proposed = text, Rules.parse(text)
        except BadRequest as error:
            return error
        return None

    @property
    def rules(self) -> Rules:
        """The rules as they are now; none but admins may do anything where they make no sense."""
        version = self._live.get(ACL_KEY)
        if version is not self._version:
            self._version = version
            value = None if version is None else version.value
            if value != self._value:
                text, rules = self._proposed
                self._value, self._rules = value, rules if value == text else _trusted(value)
        return self._rules


class _Place:
    """The globs that have one literal prefix."""

    __slots__ = ("has_all_below", "has_itself", "others")

    def __init__(self) -> None:
        self.has_itself = False
        self.has_all_below = False
        self.others: list[Glob] = []

    def add(self, glob: Glob) -> None:
        """Take a glob in; the two kinds that most rules are made of need no matching."""
        if glob.literal:
            self.has_itself = True
        elif _is_all_below(glob):
            self.has_all_below = True
        else:
            self.others.append(glob)

    def holds(self, path: str, *, is_here: bool) -> bool:
        """Say whether a glob matches ``path``, which is the prefix itself or lies below it."""
        if self.has_itself if is_here else self.has_all_below:
            return True
        return any(glob.matches(path) for glob in self.others)


class _Reach:
    """The paths that some globs match."""

    __slots__ = ("_places", "_ways", "is_everywhere")

    def __init__(self) -> None:
        self.is_everywhere = False
        self._places: dict[str, _Place] = {}
        self._ways: set[str] = set()

    def add(self, glob: Glob) -> None:
        """Add what ``glob`` matches."""
        if glob.prefix == ROOT and _is_all_below(glob):
            self.is_everywhere = True
        self._places.setdefault(glob.prefix, _Place()).add(glob)
        self._ways.update(_upward(glob.prefix))

    def holds(self, path: str) -> bool:
        """Say whether a glob matches ``path``."""
        if self.is_everywhere:
            return True
        places, here = self._places, path
        while True:
            place = places.get(here)
            if place is not None and place.holds(path, is_here=here is path):
                return True
            if here == ROOT:
                return False
            here = here[: here.rindex("/")] or ROOT

    def leads_through(self, path: str) -> bool:
        """Say whether the literal prefix of a glob is ``path`` or lies below it."""
        return path in self._ways

    def meets(self, prefix: str) -> bool:
        """Say whether a glob may match something at or below ``prefix``."""
        if prefix in self._ways:
            return True
        places = (self._places.get(here) for here in _upward(prefix))
        return any(place is not None and (place.has_all_below or place.others) for place in places)


def is_control(path: str) -> bool:
    """Say whether ``path`` lies in the part of the tree that belongs to the cluster."""
    return path.startswith(CONTROL) and (path == CONTROL or path.startswith(_BELOW_CONTROL))


def _is_all_below(glob: Glob) -> bool:
    """Say whether a glob is a path and ``/**``: all below it; the root's is the root, too."""
    head = glob.written[:-3]
    return glob.written.endswith("/**") and "*" not in head and "?" not in head


def _upward(path: str) -> Iterator[str]:
    """Yield a path and all above it."""
    while path != ROOT:
        yield path
        path = path[: path.rindex("/")] or ROOT
    yield ROOT


def _trusted(value: bytes | None) -> Rules:
    """Return the rules of a text that was looked at before it was written."""
    if value is None:
        return Rules.none()
    try:
        return Rules.parse(value)
    except CoordError:
        return Rules.closed()


def _parsed(text: bytes) -> Iterator[Rule]:
    count, globs = 0, dict[bytes, Glob]()
    for number, line in enumerate(text.split(b"\n"), 1):
        try:
            rule = _rule(line, globs)
        except CoordError as error:
            raise BadRequest(f"line {number}: {error.text}") from None
        if rule is None:
            continue
        count += 1
        if count > ACL_RULES_MAX:
            raise BadRequest(f"line {number}: there are at most {ACL_RULES_MAX} rules")
        yield rule


def _rule(line: bytes, globs: dict[bytes, Glob]) -> Rule | None:
    """Return what a line says, ``None`` where it says nothing.

    :param globs: those met so far; to compile one is most of the work.
    """
    words = []
    for word in line.split():
        if word.startswith(b"#"):
            break
        words.append(word)
    if not words:
        return None
    if len(words) == 4 and words[1].lower() == b"may":
        del words[1]
    if len(words) != 3:
        raise BadRequest(_FORM)
    who, level, glob = words
    if level.lower() not in _LEVELS:
        raise BadRequest(_FORM)
    if glob not in globs:
        globs[glob] = Glob.parse(glob)
    return Rule(_name(who), _LEVELS[level.lower()], globs[glob])


def _name(written: bytes) -> str:
    """Return the name that a rule wrote as ``written``."""
    try:
        return _ESCAPE.sub(_unescaped, written).decode()
    except UnicodeDecodeError:
        raise BadRequest("a name is not valid UTF-8") from None


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        raise BadRequest("% is followed by two hexadecimal digits")
    return bytes((int(found[1], 16),))
