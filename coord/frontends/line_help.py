"""What ``HELP`` teaches, a screen at a time.

Verbs come from the one table, errors from the catalogue; what is written here is only what
neither can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

import msgspec

from coord.errors import CATALOGUE, NoEntry
from coord.verbs import VERBS, Verb

LINE_LENGTH_MAX: Final = 72
"""Longest text: with ``HELP`` and a tag it still fits a terminal."""


class Group(msgspec.Struct, frozen=True):
    """Verbs that belong together, and what is to be known of all of them."""

    verbs: tuple[str, ...]
    text: tuple[str, ...] = ()


_GROUPS: Final[dict[str, Group]] = {
    "READING": Group(
        ("GET", "STAT", "LIST", "WALK"),
        (
            "What is read is what was last written, on whatever node. With local it",
            "is what this node has, at once, also where it has lost the others.",
        ),
    ),
    "WRITING": Group(
        ("SET", "ADD", "DEL", "REVERT", "OUTCOME"),
        (
            "Each write makes a revision and answers it; parents are made with it.",
            "With id=WORD a write is done once, however often it is sent: again, and",
            "on any node, it is answered as it was. So nothing is lost or doubled.",
        ),
    ),
    "WATCHING": Group(
        ("WATCH", "UNWATCH", "WAIT"),
        ("Every change is told as EVENT rev set|del path [value], in order.",),
    ),
    "TRANSACTIONS": Group(
        ("BEGIN", "CHECK", "COMMIT", "ABORT"),
        (
            "All that stands between BEGIN and COMMIT is done at one revision, or",
            "nothing is: ERR ABORTED 2 ... names the line that was in the way.",
            "It belongs to the tag of its BEGIN; SET, ADD, DEL, CHECK and GET go in.",
        ),
    ),
    "SESSIONS": Group(
        ("SESSION", "PING"),
        (
            "A session owns ephemeral nodes and locks: they go when it does. Any",
            "traffic keeps it; silent for its timeout it expires. A connection gets",
            "one when it first needs one, and that ends with the connection; the one",
            "that SESSION opens stays, and ID:KEY takes it up again on any node.",
            "  EVENT 12 jeopardy 5f0e9a3c71d2b846   this node may not keep it alive",
            "  EVENT 12 safe 5f0e9a3c71d2b846       it is kept again",
            "  EVENT 14 expired 5f0e9a3c71d2b846    it is over, and all it owned",
        ),
    ),
    "LOCKS": Group(
        ("LOCK", "UNLOCK"),
        (
            "A lock is a node: it holds the value given, and goes with its holder.",
            "The token that LOCK answers only ever grows. Show it to what the lock",
            "guards, or bind writes to it: CHECK token=N in a transaction.",
        ),
    ),
    "AUTHORS": Group(
        ("LOG", "BLAME"),
        ("Who changed what, from where and when, as far back as history is kept.",),
    ),
    "NODE": Group(("AUTH", "REV", "SYNC", "STATUS", "MEMBERS", "MEMBER", "HELP", "QUIT")),
}
"""Every verb, where a person would look for it; with its text a group fits a screen."""

_VERBS: Final = {verb.name: verb for verb in VERBS}
_TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "LINES": (
        "A request is a line: [#tag] VERB [option ...] [/path] [value]",
        "Verbs and options in any case; options are name or name=value.",
        "Replies come in the order of the requests, except tagged ones.",
        "Rows (NODE, ITEM, HELP) close with END and the revision they show.",
    ),
    "VALUES": (
        "A value is the rest of the line after one space, byte for byte.",
        "Any other bytes are sent, and come back, as a literal: {n}, the line",
        "end, n bytes, a line end. Replies use one where a value holds control",
        "bytes, is not UTF-8, looks like {n} or is longer than 1024 bytes.",
        "  SET /motd {11}",
        "  hello",
        "  world",
        "{0} is the empty value. DEL, not SET, makes a node go.",
    ),
    "PATHS": (
        "A path is /, or parts of UTF-8 text, each after a /: /services/web/1",
        "No part is empty, . or .., and none holds NUL.",
        "A space, a control byte and % are written %20, %0A, %25.",
        "Setting /a/b/c makes /a and /a/b; made so, they hold no value.",
    ),
    "GLOBS": (
        "WALK, WATCH, WAIT and LOG take a glob: a path in which",
        "  ?   stands for one character of a part",
        "  *   stands for any characters of one part",
        "  **  stands for any characters, also across parts",
        "%2A and %3F are the characters * and ? themselves.",
        "  WATCH /services/*/status      WALK /jobs/**",
    ),
    "TAGS": (
        "A tag, # and 1 to 32 letters or digits, before a request stands",
        "before every line of its reply, which may then come out of order:",
        "so one connection can wait, watch and write at once.",
        "  #w WATCH /jobs/**",
        "  #w OK 8",
        "  SET /jobs/1 sweep",
        "  OK 9",
        "  #w EVENT 9 set /jobs/1 sweep",
        "A watch keeps its tag until UNWATCH. All writes of a connection take",
        "effect in the order sent, tagged or not.",
    ),
    "REVISIONS": (
        "Every change makes the next revision, the same number on every node.",
        "GET rev=N reads the past; WATCH from=N tells all that happened after N.",
        "SET if=0 writes only where nothing is; SET if=N only where nothing",
        "changed after N, so that nobody's change is overwritten unseen.",
    ),
    "ACCESS": (
        "Who you are: AUTH with a secret says it, or a client's certificate; who",
        "shows neither is anonymous. What you may do is said by /ctl/acl, one",
        "rule a line. Without rules your level holds everywhere: what AUTH told.",
        "  alice may write /services/**",
        "  *     may read  /public/**",
        "The words are read, write and admin; each includes those before it.",
        "Admins change the rules: SET /ctl/acl, the lines as a literal ({n}).",
        "What you may not read is left out of rows and events, and ERR DENIED",
        "where you name it, whether it is there or not.",
    ),
}


def lesson(word: str | None) -> Sequence[str]:
    """Return the lines that teach ``word``: a verb, a group of them, a topic, an
    error code; or the overview.

    :raises NoEntry: where there is nothing of that name.
    """
    if word is None:
        return _overview()
    name = word.upper()
    if name == "ERRORS":
        return _errors()
    if name in _TOPICS:
        return _TOPICS[name]
    if name in _GROUPS:
        return _group(_GROUPS[name])
    if name in _VERBS:
        return _verb(_VERBS[name])
    if name in CATALOGUE:
        return wrap(f"{name}: {_sentence(CATALOGUE[name].__doc__)}", LINE_LENGTH_MAX)
    raise NoEntry(f"no help on {word[:32]!r}; HELP alone says what there is")


def _overview() -> Sequence[str]:
    topics = " ".join(name.lower() for name in (*_TOPICS, "ERRORS"))
    width = max(map(len, _GROUPS)) + 2
    return [
        "coord: a small tree of values that many machines share.",
        "Type a request and Enter; SET /a hello, then GET /a, is a good start.",
        "",
        *(f"{name.lower():{width}}{' '.join(group.verbs)}" for name, group in _GROUPS.items()),
        "",
        "HELP and a verb tells all about it, as in HELP SET. HELP and a word on",
        "the left shows how its verbs are written, as in HELP writing.",
        "Then there is HELP and one of:",
        f"  {topics}",
    ]


def _group(group: Group) -> Sequence[str]:
    lines = [*group.text, ""] if group.text else []
    for name in group.verbs:
        verb = _VERBS[name]
        lines += [verb.usage(), f"  {verb.help}"]
    return lines


def _verb(verb: Verb) -> Sequence[str]:
    lines = [verb.usage(), f"  {verb.help}"]
    lines += [f"  {words}: {does}" for words, does in verb.forms]
    lines += [f"  {option.name}: {option.help}" for option in verb.options]
    lines.append(f"Reply: {verb.replies}")
    if verb.example:
        lines += ["Example:", *(f"  {line}" for line in verb.example)]
    return lines


def _errors() -> Sequence[str]:
    return [
        "ERR and a code: it was not done. The text after the code is for you.",
        "OVERLOADED and UNAVAILABLE: it never will be, try again.",
        "UNKNOWN alone leaves a write's fate open. HELP and a code says more:",
        *_filled((f"{code}" for code in CATALOGUE), " "),
    ]


def _filled(words: Iterable[str], between: str) -> Sequence[str]:
    """Return words on as few lines as they fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= LINE_LENGTH_MAX:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines


def _sentence(docstring: str | None) -> str:
    return " ".join((docstring or "").replace("``", "").split())
