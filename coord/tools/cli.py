"""``coord``, the command line: the verbs from a shell, and ``init``.

Exit status: 0 done, 1 the store said no or it was refused, 2 usage, 3 no server reached, 130
interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from coord.node.settings import Refused
from coord.tools.cli_completion import script
from coord.tools.cli_member import change_members, change_of
from coord.tools.cli_transaction import transaction_of
from coord.tools.cli_words import HOLDING, command_of, lock_path, parser, verb_of
from coord.tools.init import BadMember, check_clients, make_clients, make_cluster
from coord.tools.join import join, joining_of
from coord.tools.reach import reach_of
from coord.tools.running import DONE, REFUSED, USAGE, Usage, complain, open_streams, run
from coord.verbs import Value

PROGRAM: Final = "coord"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that ``words`` (or the process's own) ask for; return the exit status."""
    open_streams()
    grammar = parser()
    given = grammar.parse_args(words)
    try:
        if given.command == "init":
            _init(given.member, given.client or (), given.dir, given.cluster)
        elif given.command == "recover":
            from coord.tools.recover import recover

            return recover(given)
        elif given.command == "completion":
            print(script(given.shell, grammar), end="")
        else:
            return _ask(given)
    except (Usage, BadMember) as error:
        complain(PROGRAM, str(error))
        return USAGE
    except Refused as error:
        complain(PROGRAM, str(error))
        return REFUSED
    except OSError as error:
        complain(PROGRAM, f"{error.filename}: {error.strerror}")
        return REFUSED
    return DONE


def _ask(given: argparse.Namespace) -> int:
    """Ask a server, after all that can be seen to be wrong without one."""
    from coord.tools.cli_lock import hold
    from coord.tools.cli_output import Output
    from coord.tools.cli_verbs import perform, spawn

    reach = reach_of(given, [*(given.server_first or ()), *(given.server or ())])
    value = _checked(given)
    note = partial(complain, PROGRAM)

    async def work(reactor: Any) -> int:
        client = reach.client(reactor, request_seconds=given.request_timeout, once=True)
        try:
            if given.command in HOLDING:
                return await hold(reactor, client, given, note)
            out = Output(as_json=given.json)
            if given.command == "member":
                return await change_members(client, given, out, note)
            if given.command == "join":
                return await join(client, joining_of(given), out)
            return await perform(client, given, value, out, note, partial(spawn, reactor))
        finally:
            await client.close()

    return run(PROGRAM, work, (Refused,))


def _checked(given: argparse.Namespace) -> bytes | None:
    """Return what is to be written, if anything; raises `Usage` for all that makes no sense."""
    if given.command in HOLDING:
        lock_path(given)
        return None
    if given.command == "member":
        change_of(given)
        return None
    if given.command == "join":
        joining_of(given)
        return None
    if given.command == "txn":
        content = sys.stdin.buffer.read()
        transaction_of(content)
        return content
    if getattr(given, "exec", None) is not None and given.diff:
        raise Usage("--exec runs for changes, and --diff tells how things differ without them")
    takes_value = verb_of(given.command).value is Value.WANTED
    command_of(given, b"" if takes_value else None)
    return _value(given) if takes_value else None


def _value(given: argparse.Namespace) -> bytes:
    """Return what is to be written: the words of the command line, or standard input.

    ``echo`` ends what it prints with a line end that nobody means: one is taken off.
    """
    if given.value:
        return " ".join(given.value).encode("utf-8", "surrogateescape")
    content = sys.stdin.buffer.read()
    return content if given.raw else content.removesuffix(b"\n")


def _init(members: Sequence[str], clients: Sequence[str], folder: Path, cluster: str) -> None:
    if not members and not clients:
        raise Usage("name the nodes of a new cluster, NAME=HOST:PORT each, or a --client of one")
    check_clients(folder, clients)
    if members:
        configs = make_cluster(folder, members, cluster)
        print(
            f"The key of the new cluster's CA is in {folder / 'ca'}: keep it, and keep it secret."
        )
        print("Start the nodes, each where it belongs:")
        for config in configs:
            print(f"  twistd -n coord --config {config}")
    if clients:
        print("Key and certificate of each client:")
        for place in make_clients(folder, clients):
            print(f"  {place}")


if __name__ == "__main__":
    raise SystemExit(main())
