"""The command line of ``coord``, made from the one table `coord.verbs.VERBS`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from coord import __version__, paths
from coord.errors import CoordError
from coord.tools.cli_completion import SHELLS
from coord.tools.reach import add_reach
from coord.tools.running import Usage
from coord.verbs import ONCE, VERBS, Kind, Option, Target, Value, Verb

COMMANDS: Final = {
    "get": "GET", "set": "SET", "add": "ADD", "del": "DEL", "ls": "LIST", "walk": "WALK",
    "stat": "STAT", "watch": "WATCH", "wait": "WAIT", "rev": "REV", "status": "STATUS",
    "members": "MEMBERS", "log": "LOG", "blame": "BLAME", "revert": "REVERT",
}  # fmt: skip
"""What each command is in the line protocol."""
HOLDING: Final = ("lock", "elect")
"""The commands that run another one while they hold a lock."""
REQUEST_SECONDS: Final = 5.0
STATUSES: Final = (
    "Exit status: 0 done; 1 the store said no; 2 usage; 3 no server reached; 130 interrupted."
)
HOLDING_STATUSES: Final = (
    "Exit status: that of COMMAND, 128 and its number where a signal ended it; 75 the lock was"
    " lost, or could have been, and COMMAND was stopped; 1 the lock was not had; 2 usage; 3 no"
    " server reached; 126 COMMAND cannot be run; 127 there is no such command."
)
_NOT_HERE: Final = ("ephemeral", "lasting")
_NUMBER_MAX: Final = 2**63 - 1
_BY_NAME: Final = {verb.name: verb for verb in VERBS}


def verb_of(command: str) -> Verb:
    """Return the verb that a command stands for."""
    return _BY_NAME[COMMANDS[command]]


class _Mixed(argparse.ArgumentParser):
    """The words of one command: options stand before, between or after operands."""

    _is_mixing = False
    takes_command = False
    """Whether what follows ``--`` is a command to run."""

    def parse_known_args(  # type: ignore[override]  # the overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Take the options first, and then the operands from what is left."""
        if self.takes_command and args is not None and "--" in args:
            cut = list(args).index("--")
            found, left = self.parse_known_args(args[:cut], namespace)
            found.run = list(args[cut + 1 :])
            return found, left
        if self._is_mixing or (args is not None and "--" in args):
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False


def parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    made = argparse.ArgumentParser(
        prog="coord", description="A small store that many machines share.", epilog=STATUSES
    )
    made.add_argument("--version", action="version", version=f"coord {__version__}")
    made.set_defaults(json=False, request_timeout=REQUEST_SECONDS, server=None, server_first=None)
    _add_shared(made, "server_first")
    commands = made.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Mixed
    )
    for name in COMMANDS:
        _add_verb(commands, name, verb_of(name))
    _add_transaction(commands)
    for name in HOLDING:
        _add_holding(commands, name)
    _add_member(commands)
    _add_init(commands)
    _add_recover(commands)
    _add_join(commands)
    completion = commands.add_parser("completion", help="print a shell's completion for coord")
    completion.add_argument("shell", choices=SHELLS)
    return made


def _add_verb(commands: Any, name: str, verb: Verb) -> None:
    made = commands.add_parser(name, help=verb.help, description=verb.help, epilog=STATUSES)
    if verb.target is Target.PATH:
        made.add_argument("target", metavar="PATH", help="such as /services/web")
    elif verb.target is Target.GLOB:
        made.add_argument(
            "target", metavar="GLOB", help="a path with ?, *, and ** for any parts; quote it"
        )
    if verb.value is Value.WANTED:
        made.add_argument("value", nargs="*", help="words, joined by a space; without any, stdin")
    if verb.value is Value.WANTED or name == "get":
        made.add_argument("--raw", action="store_true", help=_raw_help(name))
    for option in _options(verb):
        _add_option(made, option)
    if any(option.name == "ephemeral" for option in verb.options):
        made.add_argument("--ephemeral", nargs=0, action=_Ephemeral, help=argparse.SUPPRESS)
    if name == "status":
        made.add_argument("item", nargs="*", metavar="ITEM", help="print the values of these alone")
    if name == "watch":
        made.add_argument(
            "--exec",
            metavar="COMMAND",
            help="run COMMAND in a shell for each change, one after the other: the value on its"
            " standard input; COORD_PATH, COORD_REV, COORD_EVENT (set or del) in its environment",
        )
        made.add_argument("--count", type=_count, metavar="N", help="end after N changes")
    _add_shared(made, "server")


def _add_transaction(commands: Any) -> None:
    made = commands.add_parser(
        "txn",
        help="do several things at one revision, or none",
        description="A transaction from standard input: lines of SET, ADD, DEL, CHECK and GET as in"
        " the line protocol. All of them are done at one revision, or nothing is.",
        epilog=STATUSES,
    )
    _add_shared(made, "server")


def _add_member(commands: Any) -> None:
    made = commands.add_parser(
        "member",
        help="change who the cluster's nodes are",
        description="Change who the cluster's nodes are, one at a time, and return once the cluster"
        " goes by it: add NAME HOST:PORT, remove NAME, promote NAME (an observer), or replace OLD"
        " NEW HOST:PORT; plan and these words print what it would come to. Wants an admin's"
        " secret, or to be on a node's machine.",
        epilog=STATUSES,
        usage="coord member [options] [plan] add|remove|promote|replace ...",
    )
    made.add_argument("words", nargs="+", metavar="WORD", help=argparse.SUPPRESS)
    made.add_argument("--observer", action="store_true", help="add: it never votes")
    made.add_argument("--force", action="store_true", help="also what would lose the quorum")
    made.add_argument(
        "--wait", action="store_true", help="add, replace: return when the new node votes"
    )
    _add_shared(made, "server")


def _add_holding(commands: Any, name: str) -> None:
    """Add ``lock`` or ``elect``."""
    is_lock = name == "lock"
    what = "a lock is held" if is_lock else "elected: a lock whose value says who leads"
    made = commands.add_parser(
        name,
        help=f"run a command while {what}",
        description=f"Run COMMAND while {what}. COORD_TOKEN, the lock's fencing token, and"
        " COORD_LOCK, its path, are in the environment. COMMAND and its process group get SIGTERM,"
        " then SIGKILL, before anybody else can have the lock.",
        epilog=HOLDING_STATUSES,
        usage=f"coord {name} [options] PATH -- COMMAND [ARGUMENT ...]",
    )
    made.takes_command = True
    made.set_defaults(run=[], shared=False, wait=None)
    made.add_argument("target", metavar="PATH", help="the lock, such as /locks/nightly")
    if is_lock:
        made.add_argument("--shared", action="store_true", help="beside others who share it")
        made.add_argument(
            "--wait", type=_seconds, metavar="S", help="how long to wait in line, 0: not at all"
        )
    made.add_argument("--value", metavar="V", help="what its node holds meanwhile")
    made.add_argument(
        "--delay", type=_seconds, metavar="S", help="how long nobody gets it after it was lost"
    )
    made.add_argument(
        "--timeout", type=_seconds, metavar="S", help="the session's timeout: when it is lost (10)"
    )
    _add_shared(made, "server")


def _options(verb: Verb) -> Sequence[Option]:
    """Return what a command line may say of a verb: all that needs no session to outlive it."""
    return [one for one in verb.options if one is not ONCE and one.name not in _NOT_HERE]


class _Ephemeral(argparse.Action):
    """``--ephemeral``, which somebody may well try."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        """Say why not."""
        parser.error(
            "an ephemeral node goes with the session of who made it, and that ends with this"
            " command: --ttl S, or coord lock PATH --value V -- COMMAND"
        )


def _add_shared(made: argparse.ArgumentParser, servers: str) -> None:
    """Add what may stand before a command as well as after it.

    What a command's own options leave unsaid must not undo what stood before it: they have no
    defaults here. Servers named before it are kept apart, so that both count.
    """
    made.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object a line"
    )
    made.add_argument(
        "--server",
        action="append",
        dest=servers,
        default=argparse.SUPPRESS,
        metavar="HOST:PORT",
        help="a node to ask; repeatable (COORD_SERVERS, or 127.0.0.1:8046)",
    )
    made.add_argument(
        "--request-timeout",
        type=_seconds,
        default=argparse.SUPPRESS,
        metavar="S",
        help=f"how long to try ({REQUEST_SECONDS:g})",
    )
    add_reach(made, default=argparse.SUPPRESS)


def _raw_help(name: str) -> str:
    if name == "get":
        return "print the value and nothing more: no line end"
    return "keep the line end with which standard input ends"


def _add_option(made: argparse.ArgumentParser, option: Option) -> None:
    flag = f"--{option.name}"
    if option.kind is Kind.FLAG:
        made.add_argument(flag, dest=option.field, action="store_true", help=option.help)
        return
    kind, shown = {
        Kind.REVISION: (_number, "N"),
        Kind.COUNT: (_count, "N"),
        Kind.SECONDS: (_seconds, "S"),
        Kind.MILLISECONDS: (_milliseconds, "S"),
        Kind.PATH: (path_of, "PATH"),
    }[option.kind]
    made.add_argument(
        flag,
        dest=option.field,
        type=kind,
        metavar=shown,
        help=option.help,
        required=option.required,
    )


def _add_init(commands: Any) -> None:
    init = commands.add_parser(
        "init",
        help="make a folder for each node of a new cluster",
        description="Make DIR/NAME with coord.toml, key and certificate for each node, and the"
        " cluster's own CA in DIR/ca; DIR/clients/NAME with key and certificate for each --client.",
    )
    init.add_argument(
        "member", nargs="*", metavar="NAME=HOST:PORT", help="a node, and where the others reach it"
    )
    init.add_argument(
        "--client",
        action="append",
        metavar="NAME",
        help="a client of this cluster, or of one that was made in DIR before; repeatable",
    )
    init.add_argument("--dir", type=Path, required=True, help="the folder to make them in")
    init.add_argument("--cluster", default="", help="the cluster's name (one made up)")


def _add_recover(commands: Any) -> None:
    forced = commands.add_parser(
        "recover",
        help="make a new cluster of the one disk that is left of an old one",
        description="Only where a majority of the voters is lost for good: show what the directory"
        " of a stopped node holds, and with --yes make that node the only one of a new cluster.",
    )
    forced.add_argument("dir", type=Path, metavar="DIR", help="of the node, or its data")
    forced.add_argument("--cluster", required=True, metavar="NAME", help="the new cluster's name")
    forced.add_argument("--address", default="", metavar="HOST:PORT", help="where it is reached")
    forced.add_argument("--yes", action="store_true", help="do it")


def _add_join(commands: Any) -> None:
    made = commands.add_parser(
        "join",
        help="make the folder of one more node, and add it to a cluster that runs",
        description="Make DIR/NAME by the CA in DIR/ca, for a node that joins the cluster of the"
        " servers; make it a member; and print how to start it. To do it again does no harm.",
        epilog=STATUSES,
    )
    made.add_argument(
        "member", metavar="NAME=HOST:PORT", help="the node, and where the others reach it"
    )
    made.add_argument("--dir", type=Path, required=True, help="where coord init made the others")
    made.add_argument("--observer", action="store_true", help="it never votes")
    made.add_argument(
        "--replace", metavar="OLD", help="it takes the vote of OLD, which leaves the cluster"
    )
    made.add_argument("--force", action="store_true", help="also what would lose the quorum")
    _add_shared(made, "server")


def command_of(given: argparse.Namespace, value: bytes | None) -> msgspec.Struct:
    """Return the request that a command line asks for; raises `Usage`."""
    verb = verb_of(given.command)
    operands: list[str | bytes] = []
    try:
        if verb.target is Target.PATH:
            operands.append(path_of(given.target))
        elif verb.target is Target.GLOB:
            operands.append(glob_of(given.target))
    except argparse.ArgumentTypeError as error:
        raise Usage(str(error)) from None
    if value is not None:
        operands.append(value)
    fields = {option.field: getattr(given, option.field) for option in _options(verb)}
    return verb.command(*operands, **fields)


def lock_path(given: argparse.Namespace) -> str:
    """Return the path of the lock that a command line names; raises `Usage`."""
    if not given.run:
        raise Usage(f"a command is missing: coord {given.command} PATH -- COMMAND ...")
    try:
        return path_of(given.target)
    except argparse.ArgumentTypeError as error:
        raise Usage(str(error)) from None


def path_of(text: str) -> str:
    """Return the path that a word of a command line is; argparse's error where it is none.

    It is written as in the line protocol, so that what is printed can be typed again; a space may
    also stand as itself.
    """
    try:
        return paths.decode(_bytes(text))
    except CoordError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.text}") from None


def glob_of(text: str) -> str:
    """Return the glob that a word of a command line is, as it was written."""
    try:
        paths.Glob.parse(_bytes(text))
    except CoordError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.text}") from None
    return text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no revision")
    return int(text)


def _count(text: str) -> int:
    number = _number(text)
    if not number:
        raise argparse.ArgumentTypeError("0 is no count")
    return number


def _milliseconds(text: str) -> int:
    return round(1000 * _seconds(text))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return seconds
