"""What each command of ``coord`` does with a client and an `Output`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from coord.client import Page, Verbs
from coord.client.rows import Difference
from coord.commands import (
    Blame,
    Get,
    List,
    Log,
    Members,
    Rev,
    Stat,
    Status,
    Transaction,
    Wait,
    Walk,
    Watch,
)
from coord.events import Event
from coord.paths import encode
from coord.tools.cli_output import Output
from coord.tools.cli_transaction import transaction_of
from coord.tools.cli_words import command_of
from coord.tools.running import DONE

Run = Callable[[str, Event], Deferred[int]]
Note = Callable[[str], None]


async def perform(
    client: Verbs, given: argparse.Namespace, value: bytes | None, out: Output, note: Note, run: Run
) -> int:
    """Do what a command line asks for; return the exit status.

    :param value: what a write writes.
    :param note: is told what is not a result, such as that a command failed.
    :param run: runs a command for an event, and fires with its exit status.
    :raises CoordError: what the store said.
    """
    command = transaction_of(value or b"") if given.command == "txn" else command_of(given, value)
    match command:
        case Walk():
            await _walk(client, command, out)
        case Watch():
            await _watch(client, command, given, out, note, run)
        case Wait():
            out.event(
                await client.wait(
                    command.glob,
                    after_rev=command.after_rev,
                    timeout_seconds=command.timeout_seconds,
                )
            )
        case Status():
            out.status(await client.status(), given.item)
        case Members():
            out.members(await client.members())
            await _warn(client, note)
        case _:
            _print(command, await client.request(cast("Any", command)), given, out)
    return DONE


def _print(command: object, result: Any, given: argparse.Namespace, out: Output) -> None:
    """Print the one result of a command."""
    match command:
        case Get():
            out.value(command.path, result, raw=given.raw)
        case Stat():
            out.facts(result)
        case List():
            out.names(result.names)
        case Rev():
            out.number(result.rev)
        case Log() | Blame():
            out.entries(result.entries)
        case Transaction():
            out.committed(result)
        case _:
            out.written(result)


async def _warn(client: Verbs, note: Note) -> None:
    """Tell where the node that was asked takes no part: then what it sees may be long past."""
    told = await client.status()
    fault = told.get("fault", "-")
    if fault != "-":
        note(f"so {told['node']} sees it, which has a fault: {fault}")


async def _walk(client: Verbs, command: Walk, out: Output) -> None:
    """Print a walk, page by page where that can be: a local or a short one is one page."""
    if command.local or command.limit is not None:
        page: Page = await client.request(command)
        out.rows(page.rows)
        return
    pages = client.walk_pages(command.glob, rev=command.rev, after=command.after)
    async with aclosing(cast("Any", pages)):
        async for page in pages:
            if page.rows:
                out.rows(page.rows)


async def _watch(
    client: Verbs,
    command: Watch,
    given: argparse.Namespace,
    out: Output,
    note: Note,
    run: Run,
) -> None:
    watch = client.watch(command.glob, after_rev=command.after_rev, diff=command.diff)
    try:
        rev = await watch.opened()
        if out.for_people:
            note(f"watching {command.glob} after revision {rev}; Ctrl-C ends it")
        seen = 0
        while given.count is None or seen < given.count:
            event = await watch.next()
            if isinstance(event, Difference):
                out.difference(event)
                continue
            seen += 1
            if given.exec is None:
                out.event(event)
                continue
            status = await run(given.exec, event)
            if status:
                note(f"revision {event.rev}: the command ended with status {status}")
    finally:
        watch.close()


def environment(event: Event, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what a command run for ``event`` finds in its environment.

    ``COORD_PATH`` is written as the line protocol writes it, so that it can be given to ``coord``.
    """
    return {
        **inherited,
        "COORD_PATH": encode(event.path).decode(),
        "COORD_REV": str(event.rev),
        "COORD_EVENT": event.kind.value,
    }


def spawn(reactor: IReactorProcess, command: str, event: Event) -> Deferred[int]:
    """Run a command in a shell, the event's value on its standard input.

    Fires with the exit status, of one ended by a signal 128 and the signal's number, as a
    shell has it. What it prints goes where ours goes. Cancelling ends it.
    """
    child = _Child(event.value or b"")
    process = reactor.spawnProcess(
        child,
        "/bin/sh",
        ["sh", "-c", command],
        env=environment(event),
        childFDs={0: "w", 1: 1, 2: 2},
    )
    child.kill = lambda: process.signalProcess("TERM")
    return child.ended


class _Child(ProcessProtocol):
    """One command that runs; it may end without having read its input."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.kill: Callable[[], None] | None = None
        self.ended: Deferred[int] = Deferred(self._cancel)

    def connectionMade(self) -> None:
        """Hand over the value."""
        transport = cast("Any", self.transport)
        transport.write(self._value)
        transport.closeStdin()

    def processEnded(self, reason: Failure) -> None:
        """Tell how it ended."""
        ended = reason.value
        status = 0
        if isinstance(ended, ProcessTerminated):
            status = 128 + ended.signal if ended.signal else (ended.exitCode or 1)
        if not self.ended.called:
            self.ended.callback(status)

    def _cancel(self, _: Deferred[int]) -> None:
        if self.kill is not None:
            self.kill()
