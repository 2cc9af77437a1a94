"""What ``HELP`` teaches, a screen at a time.

Verbs come from the one table, errors from the catalogue; what is written here is only what
neither can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

from coord.errors import CATALOGUE, NoEntry
from coord.verbs import VERBS, Verb

LINE_LENGTH_MAX: Final = 72
"""Longest text: with ``HELP`` and a tag it still fits a terminal."""

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
        "WALK, WATCH and WAIT take a glob: a path in which",
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
}


def lesson(word: str | None) -> Sequence[str]:
    """Return the lines that teach ``word``: a verb, a topic, an error code; or the overview.

    :raises NoEntry: where there is nothing of that name.
    """
    if word is None:
        return _overview()
    name = word.upper()
    if name == "ERRORS":
        return _errors()
    if name in _TOPICS:
        return _TOPICS[name]
    for verb in VERBS:
        if verb.name == name:
            return _verb(verb)
    if name in CATALOGUE:
        return wrap(f"{name}: {_sentence(CATALOGUE[name].__doc__)}", LINE_LENGTH_MAX)
    raise NoEntry(f"no help on {word[:32]!r}; HELP alone says what there is")


def _overview() -> Sequence[str]:
    topics = " ".join(name.lower() for name in (*_TOPICS, "ERRORS"))
    return [
        "coord: a small tree of values that many machines share.",
        "Type a request and Enter; SET /a hello, then GET /a, is a good start.",
        "",
        *_filled((verb.usage() for verb in VERBS), "   "),
        "",
        "HELP and a verb tells all about it, as in HELP SET. Then there is",
        f"HELP and one of: {topics}",
    ]


def _verb(verb: Verb) -> Sequence[str]:
    lines = [verb.usage(), f"  {verb.help}"]
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
