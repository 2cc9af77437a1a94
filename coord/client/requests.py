"""Requests as bytes: the line that each command is, without its tag.

Written from the one table, `coord.verbs.VERBS`, so that a verb or an option that is
added there can be sent at once. ``GET`` and ``SET`` without options have a shorter way.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from coord import paths
from coord.commands import Auth, ChangeMembers, Command, Get, Look, Once, Part, Set, Transaction
from coord.errors import BadRequest, TooLarge
from coord.limits import SKIPPED_BYTES_MAX, WORD_LENGTH_MAX
from coord.verbs import ONCE, VERBS, Kind, Target, Value, Verb
from coord.wire.line_members import words_of
from coord.wire.line_reply import written

_VERBS: Final[dict[type, Verb]] = {verb.command: verb for verb in VERBS}
_DEFAULTS: Final[dict[type, dict[str, Any]]] = {
    verb.command: {
        field.name: field.default
        for field in msgspec.structs.fields(verb.command)
        if field.default is not msgspec.NODEFAULT
    }
    for verb in VERBS
}
_UNSAFE: Final = re.compile(rb"[\x00-\x20\x7f]")
_WORD: Final = re.compile(rf"[\x21-\x7e]{{1,{WORD_LENGTH_MAX}}}")
_WILD: Final = re.compile(r"[*?]")
_BEGIN: Final = b"BEGIN\n"
_COMMIT: Final = b"COMMIT\n"


def exactly(path: str) -> str:
    """Return the glob that matches ``path`` and nothing else, whatever characters it has."""
    text = paths.encode(path).decode()
    return _WILD.sub(lambda found: f"%{ord(found[0]):02X}", text)


def glob_line(glob: str) -> bytes:
    """Return a glob as a line writes it; raise `BadGlob` or `TooLarge` where it is none.

    Spaces and control bytes, which no line can hold, are encoded; all else stands as it is.
    """
    raw = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], glob.encode("utf-8", "surrogatepass"))
    paths.Glob.parse(raw)
    return raw


def path_line(path: str) -> bytes:
    """Return a path as a line writes it; raise `BadPath` or `TooLarge` where it is none."""
    return paths.encode(paths.validate(path))


def lines(command: Command) -> tuple[bytes, ...]:
    """Return all lines that ask for ``command``: of a transaction several, each with its answer.

    :raises CoordError: as in `line`.
    """
    kind = type(command)
    if kind is not Transaction and kind is not Once:
        return (line(command),)
    return _several(command)  # type: ignore[arg-type]


def _several(command: Transaction | Once) -> tuple[bytes, ...]:
    if isinstance(command, Transaction):
        return (_BEGIN, *map(_part, command.parts), _COMMIT)
    if isinstance(command.write, Transaction):
        return named(_several(command.write), command.word)
    return (line(command),)


def named(asked: tuple[bytes, ...], word: str) -> tuple[bytes, ...]:
    """Return the lines of a write with the id ``word`` put in."""
    last = asked[-1]
    end = 6 if last == _COMMIT else last.index(b" ")
    return (*asked[:-1], b"%b id=%b%b" % (last[:end], _word(word), last[end:]))


def _word(text: str) -> bytes:
    """Return a word as a line writes it; raise `BadRequest` where it is none."""
    if _WORD.fullmatch(text) is None:
        raise BadRequest(f"a word has 1 to {WORD_LENGTH_MAX} printable characters, and no space")
    return text.encode()


def _part(part: Part) -> bytes:
    return line(Get(part.path) if isinstance(part, Look) else part)


def line(command: Command) -> bytes:
    """Return the line, or line and literal, that asks for ``command``; ended by LF.

    Not of a transaction, which has several: see `lines`.

    :raises CoordError: where no server would understand it: a bad path or glob, a value so
        large that the connection would not survive it.
    """
    kind = type(command)
    if kind is Get and not command.local and command.rev is None:  # type: ignore[union-attr]
        return b"GET %b\n" % path_line(command.path)  # type: ignore[union-attr]
    if kind is Set and _is_plain(command):  # type: ignore[arg-type]
        value = _value(command.value)  # type: ignore[union-attr, arg-type]
        return b"SET %b %b\n" % (path_line(command.path), value)  # type: ignore[union-attr]
    return _any(command)


def _is_plain(command: Set) -> bool:
    return command.if_rev is None and command.ttl_ms is None and not command.ephemeral


def _any(command: Command) -> bytes:
    if isinstance(command, Auth):
        return b"AUTH {%d}\n%b\n" % (len(command.secret), command.secret)
    word = None
    if isinstance(command, Once):
        word, command = command.word, command.write
    verb, defaults = _VERBS[type(command)], _DEFAULTS[type(command)]
    words = [verb.name.encode()]
    if word is not None:
        words.append(b"%b=%b" % (ONCE.name.encode(), _word(word)))
    for option in verb.options:
        if option is ONCE:
            continue
        given = getattr(command, option.field)
        if given is False or given == defaults.get(option.field):
            continue
        words.append(_option(option.name, option.kind, given))
    words += _operands(verb, command)
    value: bytes | None = getattr(command, "value", None)
    if verb.value is not Value.NONE and value is not None:
        words.append(_value(value))
    return b" ".join(words) + b"\n"


def _operands(verb: Verb, command: Command) -> list[bytes]:
    """Return the words between a verb's options and its value."""
    match verb.target:
        case Target.PATH:
            return [path_line(getattr(command, "path"))]  # noqa: B009 - of any command
        case Target.GLOB:
            return [glob_line(getattr(command, "glob"))]  # noqa: B009
        case Target.WORD:
            word = getattr(command, "verb", None)
            return [_word(word)] if word else []
        case Target.NAME:
            return [_word(getattr(command, "word"))]  # noqa: B009
    if isinstance(command, ChangeMembers):
        return [word.encode() for word in words_of(command)]
    return []


def _option(name: str, kind: Kind, given: Any) -> bytes:
    if kind is Kind.FLAG:
        return name.encode()
    if kind is Kind.PATH:
        return b"%b=%b" % (name.encode(), path_line(given))
    if kind is Kind.SECONDS:
        return f"{name}={max(0.0, float(given)):.3f}".encode()
    if kind is Kind.MILLISECONDS:
        return f"{name}={given / 1000:.3f}".encode()
    if kind is Kind.SESSION:
        return f"{name}={given[0]}:{given[1]}".encode()
    if kind is Kind.WORD:
        return f"{name}={given}".encode()
    return f"{name}={int(given)}".encode()


def _value(value: bytes) -> bytes:
    if len(value) > SKIPPED_BYTES_MAX:
        raise TooLarge(f"a value of {len(value)} bytes is more than any node takes")
    return written(value)
