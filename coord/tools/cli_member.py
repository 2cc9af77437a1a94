"""``coord member``: who the cluster's nodes are, changed from a shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from coord.client import Verbs, exactly
from coord.commands import ChangeMembers, Deed
from coord.errors import BadRequest, Exists, NoEntry
from coord.events import Event
from coord.paths import CONTROL
from coord.results import Value
from coord.tools.cli_output import Output
from coord.tools.running import DONE, Usage
from coord.wire import line_members

PLAN: Final = "plan"
_OBSERVER: Final = line_members.OBSERVER.encode()


def change_of(given: argparse.Namespace) -> ChangeMembers:
    """Return the change that a command line asks for; raises `Usage`."""
    words = list(given.words)
    plan = words[0].lower() == PLAN
    del words[: int(plan)]
    if not words or words[0].lower() not in line_members.DEEDS:
        raise Usage("member wants one of add, remove, promote, replace; or plan, and one of them")
    if given.observer:
        words.append(line_members.OBSERVER)
    try:
        change = line_members.change(words, force=given.force, plan=plan)
    except BadRequest as problem:
        raise Usage(problem.text) from None
    if given.wait and (plan or change.is_observer):
        raise Usage("--wait is for a vote: an observer never gets one, and nobody by a plan")
    return change


async def change_members(
    client: Verbs, given: argparse.Namespace, out: Output, note: Callable[[str], None]
) -> int:
    """Do what a command line asks for; return the exit status."""
    change = change_of(given)
    if change.plan:
        out.lines(await client.plan(change))
        return DONE
    if given.wait and change.deed in (Deed.ADD, Deed.REPLACE):
        out.number(await _until_it_votes(client, change, note))
    else:
        out.written(await client.request(change))
    return DONE


async def _until_it_votes(client: Verbs, change: ChangeMembers, note: Callable[[str], None]) -> int:
    """Do a change, or find it done; return the revision at which the new node had its vote."""
    name = change.successor or change.node
    try:
        await client.request(change)
    except Exists:
        members = {one.name: one.address for one in await client.members()}
        if members.get(name) != change.address:
            raise
    note(f"{name} learns, if it runs; it votes once it is close, also if nobody waits")
    return await vote_of(client, name)


async def vote_of(client: Verbs, name: str) -> int:
    """Return the revision at which a member has got its vote, once it has.

    :raises NoEntry: it is no member, or none any more.
    """
    path = f"{CONTROL}/members/{name}"
    watch: Any = client.watch(exactly(path))
    try:
        await watch.opened()
        told: Event | Value = await client.get(path)
        while told.value is not None and told.value.endswith(b" " + _OBSERVER):
            told = await watch.next()
        if told.value is None:
            raise NoEntry(f"{name} is no member any more")
        return told.rev
    finally:
        watch.close()
