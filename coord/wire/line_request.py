"""The grammar of one request: ``[#tag] VERB [option ...] [/path] [value]``.

Built from the one table, `coord.verbs.VERBS`. A `Grammar` turns one whole line into a
command or an error; where lines come from, and the bytes of literals, is `coord.wire.line`.

Whether a line announces a literal is decided before anything else is understood: it does
where the rest of the line after the path (or, without a path, its last word) is exactly
``{n}``, whatever the verb, also where the request is wrong. So a client's bytes are never
taken for requests because a node did not know the verb that they came with.

Two speeds: `Grammar.quick` holds, for the first word of a line, a function that knows the
plain form (no option, no literal); all else goes through `Grammar.take_apart`. Both end in the
same commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil
from typing import Any, Final, TypeAlias, cast

import msgspec

from coord import paths
from coord.commands import Command, Once
from coord.errors import BadPath, BadRequest, CoordError, TooLarge, UnknownVerb
from coord.limits import SPAN_SECONDS_MAX, TAG_LENGTH_MAX, VALUE_BYTES_MAX, WORD_LENGTH_MAX
from coord.verbs import ONCE, VERBS, Kind, Option, Target, Value, Verb
from coord.wire import line_members

NUMBER_MAX: Final = 2**63 - 1
"""Largest number in a request; a revision is never larger."""
KNOWN_NAMES_MAX: Final = 16_384
"""Paths, and globs, that a grammar remembers as already decoded."""
KNOWN_NAME_BYTES_MAX: Final = 128
"""Longest of them, so that memory is bounded: about four megabytes."""

Quick: TypeAlias = Callable[[bytes], Command | None]

_TAG: Final = re.compile(rb"#[A-Za-z0-9]{1,%d}" % TAG_LENGTH_MAX)
_LITERAL: Final = re.compile(rb"\{(-?)([0-9]+)\}")
_DIGITS: Final = re.compile(rb"[0-9]+")
_SECONDS: Final = re.compile(rb"[0-9]{1,10}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")
_WORD: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % WORD_LENGTH_MAX)
_SESSION: Final = re.compile(rb"([0-9A-Za-z._-]{1,64}):([0-9A-Za-z_-]{1,128})")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


class Tagged(msgspec.Struct, frozen=True, gc=False):
    """A request that carried a tag; ``tag`` is what stands in front of its reply: ``b"#w "``."""

    tag: bytes
    request: Command | CoordError


Parsed: TypeAlias = Command | CoordError | Tagged
"""What one line became."""


class Parts(msgspec.Struct, kw_only=True):
    """A line taken apart and not yet understood.

    ``tag`` is empty where there is none. ``literal`` is the announced number of bytes, whose
    place in ``value`` is filled once they are there. ``fault`` is what is wrong with it already,
    ``rest`` all that stood behind the verb and a space.
    """

    tag: bytes
    verb: bytes
    words: list[bytes]
    target: bytes | None
    value: bytes | None
    literal: int | None = None
    fault: CoordError | None = None
    rest: bytes = b""

    def answer(self, request: Command | CoordError) -> Parsed:
        """Return ``request`` under this line's tag."""
        return Tagged(self.tag, request) if self.tag else request


def cut_tag(line: bytes) -> tuple[bytes, bytes]:
    """Return a line's tag, ready to stand before a reply, and the rest of the line.

    The tag is empty where the line has none; `BadRequest` where it is no tag.
    """
    if line[:1] != b"#":
        return b"", line
    tag, _, rest = line.partition(b" ")
    if not _TAG.fullmatch(tag):
        raise BadRequest(f"a tag is # and 1 to {TAG_LENGTH_MAX} letters or digits")
    return tag + b" ", rest.lstrip(b" ")


class Grammar:
    """The request grammar of one front end, and the names that it met lately."""

    def __init__(self, value_bytes_max: int = VALUE_BYTES_MAX) -> None:
        self.value_bytes_max = value_bytes_max
        self._paths: dict[bytes, str] = {}
        self._globs: dict[bytes, paths.Glob] = {}
        self._verbs = {verb.name.encode(): verb for verb in VERBS}
        self._options = {
            verb.name: {option.name.encode(): option for option in verb.options} for verb in VERBS
        }
        self.quick: dict[bytes, Quick] = {}
        for verb in VERBS:
            if verb.target is Target.PATH and not any(one.required for one in verb.options):
                wanted = verb.value is Value.WANTED
                build = (self._quick_value if wanted else self._quick_path)(verb)
                self.quick[verb.name.encode()] = self.quick[verb.name.lower().encode()] = build

    # -- names -----------------------------------------------------------------------
    def path(self, written: bytes) -> str:
        """Return the path that a line wrote; `BadPath` or `TooLarge` where it is none."""
        path = self._paths.get(written)
        if path is None:
            if _CONTROL.search(written):
                raise BadPath("a control byte in a path is written percent-encoded")
            path = paths.decode(written)
            _remember(self._paths, written, path)
        return path

    def glob(self, written: bytes) -> paths.Glob:
        """Return the compiled glob that a line wrote; `BadGlob` or `TooLarge` where it is none."""
        glob = self._globs.get(written)
        if glob is None:
            glob = paths.Glob.parse(written)
            _remember(self._globs, written, glob)
        return glob

    # -- the plain form, fast -----------------------------------------------------------
    def _quick_path(self, verb: Verb) -> Quick:
        known, command = self._paths.get, _builder(verb)

        def build(rest: bytes) -> Command | None:
            path = known(rest)
            if path is None:
                if rest[:1] != b"/" or b" " in rest:
                    return None
                path = self.path(rest)
            return command(path)

        return build

    def _quick_value(self, verb: Verb) -> Quick:
        known, command, size_max = self._paths.get, _builder(verb), self.value_bytes_max

        def build(rest: bytes) -> Command | None:
            written, space, value = rest.partition(b" ")
            if value[:1] == b"{" or not space or len(value) > size_max:
                return None
            path = known(written)
            if path is None:
                if written[:1] != b"/":
                    return None
                path = self.path(written)
            return command(path, value)

        return build

    # -- every form -----------------------------------------------------------------------
    def take_apart(self, line: bytes) -> Parts | None:
        """Return the parts of a line without its end; ``None`` for a line of nothing."""
        fault: CoordError | None = None
        try:
            tag, line = cut_tag(line)
        except BadRequest as error:
            tag, fault = b"", error
        head, slash, tail = line.partition(b" /")
        target, value = None, None
        if slash:
            target, space, rest = tail.partition(b" ")
            target, value = b"/" + target, rest if space else None
        words = [word for word in head.split(b" ") if word]
        if not words:
            if not tag and not slash:
                return None
            words, fault = [b""], BadRequest("a request begins with a verb; HELP lists them")
        if target is None and len(words) > 1 and _LITERAL.fullmatch(words[-1]):
            value = words.pop()
        verb, *words = words
        rest = line.lstrip(b" ")[len(verb) + 1 :]
        parts = Parts(
            tag=tag, verb=verb, words=words, target=target, value=value, fault=fault, rest=rest
        )
        self._announce(parts)
        return parts

    def _announce(self, parts: Parts) -> None:
        """Note how many bytes the line announces, and whether that is wrong."""
        found = _LITERAL.fullmatch(parts.value or b"")
        if found is None:
            return
        if found[1]:
            parts.fault = parts.fault or BadRequest("a literal's size is not negative")
            return
        digits = found[2].lstrip(b"0") or b"0"
        parts.literal = int(digits) if len(digits) <= 18 else NUMBER_MAX
        if parts.literal > self.value_bytes_max:
            parts.fault = self._too_large()

    def understand(self, parts: Parts) -> Command | CoordError:
        """Return the command that a line's parts make, or what is wrong with them."""
        if parts.fault is not None:
            return parts.fault
        try:
            return self._command(parts)
        except CoordError as error:
            return error

    def _command(self, parts: Parts) -> Command:
        verb = self._verbs.get(parts.verb.upper())
        if verb is None:
            raise UnknownVerb(f"{shown(parts.verb)} is no verb; HELP lists them")
        if verb.target is Target.WORD:
            return self._lesson(verb, parts)
        if verb.target is Target.SECRET:
            return self._secret(verb, parts)
        if verb.target is Target.CHANGE:
            return self._change(verb, parts)
        words, operands = list(parts.words), list[str | bytes]()
        if verb.target is Target.NAME:
            operands.append(_name(verb, words))
        fields = self._fields(verb, words)
        if verb.target in (Target.PATH, Target.GLOB):
            operands.append(self._target(verb, parts.target))
        elif parts.target is not None:
            raise _misfit(verb, "takes no path")
        if verb.value is Value.WANTED or (verb.value is Value.OPTIONAL and parts.value is not None):
            operands.append(self._value(verb, parts.value))
        elif parts.value and parts.value.strip(b" "):
            raise _misfit(verb, "takes no value")
        word = fields.pop(ONCE.field, None)
        command = _builder(verb)(*operands, **fields)
        return command if word is None else Once(word, command)  # type: ignore[arg-type]

    def _secret(self, verb: Verb, parts: Parts) -> Command:
        secret = parts.rest if parts.literal is None else parts.value
        if not secret:
            raise _misfit(verb, "wants a secret")
        return _builder(verb)(secret)

    def _change(self, verb: Verb, parts: Parts) -> Command:
        if parts.target is not None or parts.value is not None:
            raise _misfit(verb, "takes no path and no value")
        words = [word.decode("ascii", "backslashreplace") for word in parts.words]
        deeds = [place for place, word in enumerate(words) if word.lower() in line_members.DEEDS]
        if not deeds:
            raise _misfit(verb, "wants one of add, remove, promote, replace")
        options = self._fields(verb, parts.words[: deeds[0]])
        return line_members.change(words[deeds[0] :], **options)

    def _lesson(self, verb: Verb, parts: Parts) -> Command:
        if len(parts.words) > 1 or parts.target is not None or parts.value is not None:
            raise _misfit(verb, "takes one word at most")
        word = parts.words[0].decode("utf-8", "replace") if parts.words else None
        return _builder(verb)(word)

    def _target(self, verb: Verb, written: bytes | None) -> str:
        if written is None:
            raise _misfit(verb, f"wants a {verb.target.value}")
        return self.path(written) if verb.target is Target.PATH else self.glob(written).written

    def _value(self, verb: Verb, value: bytes | None) -> bytes:
        if value is None:
            raise _misfit(verb, "wants a value; {0} is the empty one")
        if len(value) > self.value_bytes_max:
            raise self._too_large()
        return value

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a value has at most {self.value_bytes_max} bytes")

    def _fields(self, verb: Verb, words: list[bytes]) -> dict[str, Any]:
        """Return the fields that the options between verb and path fill."""
        fields: dict[str, Any] = {}
        for word in words:
            name, equals, text = word.partition(b"=")
            option = self._options[verb.name].get(name.lower())
            if option is None:
                raise _misfit(verb, f"has no option {shown(name)}")
            if option.field in fields:
                raise _misfit(verb, f"takes {option.name} once")
            fields[option.field] = self._option(verb, option, text if equals else None)
        for option in verb.options:
            if option.required and option.field not in fields:
                raise _misfit(verb, f"wants {option.usage()}")
        return fields

    def _option(self, verb: Verb, option: Option, text: bytes | None) -> object:
        if option.kind is Kind.FLAG:
            if text is not None:
                raise _misfit(verb, f"takes {option.name} without a value")
            return True
        if text is None:
            raise _misfit(verb, f"wants {option.usage().strip('[]')}")
        match option.kind:
            case Kind.PATH:
                return self.path(text)
            case Kind.SECONDS:
                return _seconds(option, text)
            case Kind.MILLISECONDS:
                return _milliseconds(option, text)
            case Kind.WORD:
                return _word(option.name + "=", text)
            case Kind.SESSION:
                return _session(option, text)
            case _:
                return _number(option, text)


def shown(word: bytes) -> str:
    """Return a client's word as an error may repeat it: short, and printable."""
    text = word[:32].decode("ascii", "backslashreplace")
    return repr(text if len(word) <= 32 else f"{text}...")


def _builder(verb: Verb) -> Callable[..., Command]:
    return cast("Callable[..., Command]", verb.command)


def _misfit(verb: Verb, what: str) -> BadRequest:
    return BadRequest(f"{verb.name} {what}; HELP {verb.name} shows how it is written")


def _number(option: Option, text: bytes) -> int:
    digits = text.lstrip(b"0") or text[-1:]
    least = 1 if option.kind is Kind.COUNT else 0
    if not _DIGITS.fullmatch(digits) or len(digits) > 19 or not least <= int(digits) <= NUMBER_MAX:
        raise BadRequest(f"{option.name}= wants a number from {least} to {NUMBER_MAX}")
    return int(digits)


def _name(verb: Verb, words: list[bytes]) -> str:
    """Take the one word that stands for itself."""
    if len(words) != 1:
        raise _misfit(verb, "wants one word")
    return _word(verb.name, words.pop())


def _word(where: str, text: bytes) -> str:
    if not _WORD.fullmatch(text):
        raise BadRequest(f"{where} wants a word of 1 to {WORD_LENGTH_MAX} printable characters")
    return text.decode()


def _session(option: Option, text: bytes) -> tuple[str, str]:
    found = _SESSION.fullmatch(text)
    if found is None:
        raise BadRequest(f"{option.name}= wants ID:KEY, as SESSION told them")
    return found[1].decode(), found[2].decode()


def _seconds(option: Option, text: bytes) -> float:
    if not _SECONDS.fullmatch(text):
        raise BadRequest(f"{option.name}= wants seconds, such as 2 or 0.5")
    return float(text)


def _milliseconds(option: Option, text: bytes) -> int:
    """Take a span of time: never less than was asked for, and nothing only where 0 was."""
    seconds = _seconds(option, text)
    if seconds > SPAN_SECONDS_MAX:
        raise BadRequest(f"{option.name}= is at most {SPAN_SECONDS_MAX:.0f} seconds")
    return ceil(round(1000 * seconds, 6))


def _remember(known: dict[bytes, Any], written: bytes, name: Any) -> None:
    if len(written) > KNOWN_NAME_BYTES_MAX:
        return
    if len(known) >= KNOWN_NAMES_MAX:
        known.clear()
    known[written] = name
