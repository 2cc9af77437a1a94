"""The line protocol's requests, from chunks of bytes as they happen to arrive.

A chunk is cut into lines once, whatever it holds; the lines are then read from an iterator,
from which a literal takes its share. Between chunks a parser keeps an unfinished line (never
more than a longest line), or an unfinished literal (never more than it announced), or only
the fact that it skips: the rest of a line that was too long, the bytes of a literal that was.

What a client sent wrong becomes an error in its place among the requests; nothing that can
arrive raises. Only a literal too large even to be skipped ends the conversation: `broken`.

A line of nothing but spaces is nobody's request and gets no reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coord.errors import BadRequest, CoordError, TooLarge
from coord.limits import LINE_BYTES_MAX, SKIPPED_BYTES_MAX
from coord.wire.line_request import Grammar, Parsed, Parts, Tagged, cut_tag

__all__ = ["Grammar", "Parsed", "RequestParser", "Tagged"]

_TAG_SEEN: Final = 40
"""Bytes at the start of a line that surely hold its tag."""


class _Literal:
    """The bytes of a value on their way in, and the request that announced them."""

    def __init__(self, parts: Parts, size: int, *, wanted: bool) -> None:
        self.parts = parts
        self.size = size
        self.wanted = wanted
        self.length = 0
        self._content = bytearray()

    def add(self, piece: bytes) -> None:
        self.length += len(piece)
        if self.wanted:
            self._content += piece

    def value(self) -> bytes | None:
        """Return the value once a line end was met; ``None`` if that was not its end."""
        excess = self.length - self.size
        if excess == 0 or (excess == 1 and self._content.endswith(b"\r")):
            return bytes(memoryview(self._content)[: self.size])
        return None


class RequestParser:
    """Turns what one connection sends into requests, in order.

    :param grammar: shared by all connections of a front end.
    :param line_bytes_max: longest line, without its end.
    """

    def __init__(self, grammar: Grammar, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self.broken = False
        self._grammar = grammar
        self._line_bytes_max = line_bytes_max
        self._pending = bytearray()
        self._literal: _Literal | None = None
        self._skipping = False

    @property
    def is_midway(self) -> bool:
        """Whether what comes next may belong to a line, or a literal, that has begun."""
        return bool(self._pending) or self._literal is not None or self._skipping

    def feed(self, chunk: bytes) -> list[Parsed]:
        """Return the requests and errors that ``chunk`` completed.

        Once `broken`, nothing more is read and the connection should be closed.
        """
        done: list[Parsed] = []
        if self.broken:
            return done
        if self._literal is not None:
            chunk = self._fill(self._literal, chunk)
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines:
            self._read(lines, b"\r" in chunk, done)
        if not self.broken:
            self._keep(tail, done)
        return done

    def finish(self) -> list[Parsed]:
        """Return what the end of input makes of an unfinished request: never a command."""
        done: list[Parsed] = []
        literal, line = self._literal, bytes(self._pending)
        if literal is not None and literal.wanted:
            done.append(literal.parts.answer(BadRequest("the input ended within a literal")))
        elif line.strip(b" \r"):
            done.append(_at_fault(line, BadRequest("the input ended within a line")))
        self._literal = None
        self._pending.clear()
        self.broken = True
        return done

    # -- whole lines --------------------------------------------------------------------
    def _read(self, lines: list[bytes], returns: bool, done: list[Parsed]) -> None:
        if self._pending:
            lines[0] = bytes(self._pending) + lines[0]
            self._pending.clear()
        limit = self._line_bytes_max
        rest = iter(lines)
        if self._skipping:
            self._skipping = False
            next(rest)
        elif self._literal is not None:
            self._collect(self._literal, rest, done)
        careful = returns or lines[0][-1:] == b"\r" or max(map(len, lines)) > limit
        quick, append = self._grammar.quick, done.append
        for line in rest:
            if careful:
                line = line.removesuffix(b"\r")
                if len(line) > limit:
                    append(self._too_long(line))
                    continue
            verb, _, operands = line.partition(b" ")
            build = quick.get(verb)
            try:
                command = None if build is None else build(operands)
            except CoordError as error:
                append(error)
                continue
            if command is not None:
                append(command)
            else:
                self._take(line, rest, done)
                if self.broken:
                    return

    def _take(self, line: bytes, rest: Iterator[bytes], done: list[Parsed]) -> None:
        """Read a line that is not of the plain form, and its literal as far as it is there."""
        if line[:1] == b"#" and self._take_tagged(line, done):
            return
        parts = self._grammar.take_apart(line)
        if parts is None:
            return
        if parts.literal is None:
            done.append(parts.answer(self._grammar.understand(parts)))
            return
        wanted = parts.fault is None or parts.literal <= self._grammar.value_bytes_max
        if not wanted:
            done.append(parts.answer(self._grammar.understand(parts)))
        if not wanted and parts.literal > SKIPPED_BYTES_MAX:
            self.broken = True
            return
        self._literal = _Literal(parts, parts.literal, wanted=wanted)
        self._collect(self._literal, rest, done)

    def _take_tagged(self, line: bytes, done: list[Parsed]) -> bool:
        """Read a line whose request is of the plain form behind a tag."""
        try:
            tag, line = cut_tag(line)
            verb, _, operands = line.partition(b" ")
            build = self._grammar.quick.get(verb)
        except CoordError:
            return False
        try:
            request: object = None if build is None else build(operands)
        except CoordError as error:
            request = error
        if request is None:
            return False
        done.append(Tagged(tag, request))  # type: ignore[arg-type]
        return True

    # -- literals ---------------------------------------------------------------------------
    def _fill(self, literal: _Literal, chunk: bytes) -> bytes:
        """Take what a literal still lacks from the front of a chunk; return the rest."""
        missing = max(0, literal.size - literal.length)
        literal.add(chunk[:missing])
        return chunk[missing:]

    def _collect(self, literal: _Literal, rest: Iterator[bytes], done: list[Parsed]) -> None:
        """Take a literal's bytes from the lines after the one that announced it."""
        for line in rest:
            literal.add(line)
            if literal.length >= literal.size:
                self._literal = None
                self._deliver(literal, done)
                return
            literal.add(b"\n")

    def _deliver(self, literal: _Literal, done: list[Parsed]) -> None:
        if not literal.wanted:
            return
        parts, value = literal.parts, literal.value()
        if value is None:
            problem = BadRequest(f"after the {literal.size} bytes of a literal comes a line end")
            done.append(parts.answer(problem))
            return
        parts.value = value
        done.append(parts.answer(self._grammar.understand(parts)))

    # -- what a chunk leaves unfinished -------------------------------------------------------
    def _keep(self, tail: bytes, done: list[Parsed]) -> None:
        literal = self._literal
        if literal is not None:
            literal.add(tail)
            if literal.length > literal.size + 1:
                self._literal, self._skipping = None, True
                self._deliver(literal, done)
        elif not self._skipping:
            self._pending += tail
            if len(self._pending) > self._line_bytes_max + 1:
                done.append(self._too_long(bytes(self._pending[:_TAG_SEEN])))
                self._pending.clear()
                self._skipping = True

    def _too_long(self, line: bytes) -> Parsed:
        problem = TooLarge(f"a line has at most {self._line_bytes_max} bytes")
        return _at_fault(line[:_TAG_SEEN], problem)


def _at_fault(line: bytes, problem: CoordError) -> Parsed:
    """Return ``problem`` under the tag of the line that has it."""
    try:
        tag, _ = cut_tag(line)
    except BadRequest:
        tag = b""
    return Tagged(tag, problem) if tag else problem
