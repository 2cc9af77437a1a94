"""A transaction as it is put together: all of it at one revision, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from coord import commands
from coord.results import Committed


def milliseconds(seconds: float | None) -> int | None:
    """Return a span as commands have it, rounded to whole milliseconds."""
    return None if seconds is None else round(seconds * 1000)


def checked(value: bytes) -> bytes:
    """Return a value; raise `TypeError` where it is none."""
    if not isinstance(value, bytes):
        raise TypeError(f"a value is bytes, not {type(value).__name__}")
    return value


class Transaction:
    """Writes, conditions and reads that are done together, or not at all.

    ::

        done = await (
            client.transaction()
            .check("/leader", token=lock.token)
            .set("/jobs/last", b"2026-11-20")
            .get("/jobs/count")
            .commit()
        )
        done.rev, done.rows[0].value

    Nothing is sent before `commit`, and it is committed once. Parameters are those of the
    methods of the same name of `Verbs`.
    """

    def __init__(self, ask: Callable[[commands.Command], Deferred[Any]]) -> None:
        self._ask = ask
        self._parts: list[commands.Part] = []

    def set(
        self,
        path: str,
        value: bytes,
        *,
        if_rev: int | None = None,
        ephemeral: bool = False,
        ttl_seconds: float | None = None,
    ) -> Transaction:
        """Give a node a value."""
        ttl_ms = milliseconds(ttl_seconds)
        return self._with(commands.Set(path, checked(value), if_rev, ephemeral, ttl_ms))

    def add(
        self,
        path: str,
        value: bytes,
        *,
        sequential: bool = False,
        ephemeral: bool = False,
        ttl_seconds: float | None = None,
    ) -> Transaction:
        """Make a node; where it is a sequential one, a row of the answer names it."""
        ttl_ms = milliseconds(ttl_seconds)
        return self._with(commands.Add(path, checked(value), sequential, ephemeral, ttl_ms))

    def delete(self, path: str, *, if_rev: int | None = None, tree: bool = False) -> Transaction:
        """Delete a node."""
        return self._with(commands.Delete(path, if_rev, tree))

    def check(
        self, path: str, *, if_rev: int | None = None, token: int | None = None
    ) -> Transaction:
        """Go on only if the node has not changed after ``if_rev`` (0: is not there), and if the
        lock at it is still held under ``token``.
        """
        return self._with(commands.Check(path, if_rev, token))

    def get(self, path: str) -> Transaction:
        """Look what the node holds at this place: a row of the answer, a `Value` or the error."""
        return self._with(commands.Look(path))

    def commit(self, *, word: str | None = None) -> Deferred[Committed]:
        """Do it all, at one revision.

        :param word: as in `Verbs.set`.
        :raises Aborted: nothing was done; the text names the line, counted from 1, its error's
            code and its text.
        :raises Unknown: as in `Verbs.set`.
        """
        command = commands.Transaction(tuple(self._parts))
        return self._ask(command if word is None else commands.Once(word, command))

    def _with(self, part: commands.Part) -> Transaction:
        self._parts.append(part)
        return self
