"""What was typed, as a word and what it is given: ``tree /services`` or ``tree('/services')``.

Only words, texts and numbers are understood here. Nothing is evaluated.
"""

from __future__ import annotations

import ast
import keyword
import re
import shlex
from collections.abc import Container
from typing import Any, Final

import attrs

_PLAIN: Final = re.compile(r"\s*([A-Za-z_]\w*)(?:\s+(\S.*))?\s*\Z", re.DOTALL)


class NotUnderstood(Exception):
    """It is no word with what it takes; the text says why."""


@attrs.frozen
class Spoken:
    """A word's name and what it is given."""

    name: str
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = attrs.Factory(dict)


def parse(line: str) -> Spoken:
    """Return what a line says; raise `NotUnderstood`."""
    line = line.strip()
    if not line:
        raise NotUnderstood("say a word; help tells which there are")
    if line == "?":
        return Spoken("help")
    found = _PLAIN.match(line)
    if found is not None and not (found[2] or "").startswith("("):
        return _plain(line)
    return _call(line)


def is_plain(line: str, words: Container[str]) -> bool:
    """Say whether a line is a word and what it is given, as in a shell, and is no Python."""
    found = _PLAIN.match(line)
    if found is None or found[1] not in words or found[2] is None:
        return False
    first = found[2].split()[0]
    return first.startswith("/") or (first.isidentifier() and not keyword.iskeyword(first))


def _plain(line: str) -> Spoken:
    try:
        name, *given = shlex.split(line)
    except ValueError as error:
        raise NotUnderstood(str(error).lower()) from None
    return Spoken(name, tuple(given))


def _call(line: str) -> Spoken:
    try:
        tree = ast.parse(line, mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise NotUnderstood("it is neither a word nor a call of one")
        given = tuple(ast.literal_eval(one) for one in tree.args)
        named = {one.arg: ast.literal_eval(one.value) for one in tree.keywords if one.arg}
        if len(named) != len(tree.keywords):
            raise NotUnderstood("** is not understood here")
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise NotUnderstood("it cannot be read: say it as tree /path or tree('/path')") from None
    return Spoken(tree.func.id, given, named)
