"""Every request of a client as a frozen value, and the one table of verbs.

Writes travel: through peers' links and in the journal they are arrays that begin with
the tag given here. A tag is never given to anything else, and a field is only ever
added at the end, with a default.

`VERBS` feeds the grammar of the line protocol, ``HELP``, the command line, the console
and the documentation; nothing about a verb is written down anywhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec


# -- writes -----------------------------------------------------------------------
class Genesis(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The first write of a cluster, made by itself: who it is, under ``/ctl``.

    ``members`` are pairs of name and ``host:port``. Done only at revision 0, so that
    two nodes which both propose it do no harm.
    """

    cluster: str
    members: tuple[tuple[str, str], ...]


class Set(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Give a node a value, making it where it is not there.

    ``if_rev`` 0: only where there is no such node; N: only where there is one that has
    not changed after revision N.
    """

    path: str
    value: bytes
    if_rev: int | None = None


class Add(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Make a node that must not be there yet.

    ``sequential`` appends the parent's next number, ten digits, to ``path``.
    """

    path: str
    value: bytes
    sequential: bool = False


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Delete a node; ``tree`` with all below it. ``if_rev`` as in `Set`."""

    path: str
    if_rev: int | None = None
    tree: bool = False


Write: TypeAlias = Genesis | Set | Add | Delete
WRITES: Final = (Genesis, Set, Add, Delete)


# -- reads of the store -------------------------------------------------------------
class Get(msgspec.Struct, frozen=True, gc=False):
    """The value of one node; ``local`` as this node has it, ``rev`` as it was then."""

    path: str
    local: bool = False
    rev: int | None = None


class Stat(msgspec.Struct, frozen=True, gc=False):
    """The facts of one node beside its value."""

    path: str
    local: bool = False
    rev: int | None = None


class List(msgspec.Struct, frozen=True, gc=False):
    """The names of a node's children."""

    path: str
    local: bool = False
    rev: int | None = None


class Walk(msgspec.Struct, frozen=True, gc=False):
    """The nodes that match ``glob`` (as written) and hold a value, after path ``after``."""

    glob: str
    local: bool = False
    rev: int | None = None
    after: str | None = None
    limit: int | None = None


class Sync(msgspec.Struct, frozen=True, gc=False):
    """This node's revision once it has all that was committed before the call."""


class Rev(msgspec.Struct, frozen=True, gc=False):
    """This node's revision as it stands."""


Read: TypeAlias = Get | Stat | List | Walk | Sync | Rev
READS: Final = (Get, Stat, List, Walk, Sync, Rev)


# -- what concerns the connection or the node -------------------------------------------
class Watch(msgspec.Struct, frozen=True, gc=False):
    """Tell every change that matches ``glob`` (as written) after ``after_rev`` or from now."""

    glob: str
    after_rev: int | None = None


class Unwatch(msgspec.Struct, frozen=True, gc=False):
    """End the watches of this connection on ``glob``."""

    glob: str


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Tell the first change that matches ``glob``, or fail after ``timeout_seconds``."""

    glob: str
    after_rev: int | None = None
    timeout_seconds: float | None = None


class Status(msgspec.Struct, frozen=True, gc=False):
    """How this node is."""


class Members(msgspec.Struct, frozen=True, gc=False):
    """The cluster as this node sees it."""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Nothing but an answer."""


class Help(msgspec.Struct, frozen=True, gc=False):
    """Teach the protocol, or one verb of it."""

    verb: str | None = None


class Quit(msgspec.Struct, frozen=True, gc=False):
    """Answer, then close the connection."""


Local: TypeAlias = Watch | Unwatch | Wait | Status | Members | Ping | Help | Quit
Command: TypeAlias = Write | Read | Local


# -- the table -------------------------------------------------------------------------
class Kind(enum.Enum):
    """What an option's value is: nothing, a number, seconds, or a path."""

    FLAG = "flag"
    REVISION = "N"
    COUNT = "N>0"
    SECONDS = "S"
    PATH = "/path"


class Target(enum.Enum):
    """What follows the options."""

    NOTHING = ""
    PATH = "/path"
    GLOB = "/glob"
    WORD = "[verb]"


class Option(msgspec.Struct, frozen=True):
    """An option as typed, the command's field that it fills, and what it says."""

    name: str
    field: str
    kind: Kind
    help: str


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One verb: how it is written, what it becomes, how it is taught.

    ``replies`` says what comes back; ``example`` holds lines to type and lines that
    come back (those begin with two spaces).
    """

    name: str
    command: type[msgspec.Struct]
    target: Target
    takes_value: bool = False
    options: tuple[Option, ...] = ()
    replies: str
    help: str
    example: tuple[str, ...] = ()

    def usage(self) -> str:
        """Return the verb's grammar in one line."""
        words = [self.name, *(f"[{_written(option)}]" for option in self.options)]
        if self.target is not Target.NOTHING:
            words.append(self.target.value)
        if self.takes_value:
            words.append("value")
        return " ".join(words)


def _written(option: Option) -> str:
    if option.kind is Kind.FLAG:
        return option.name
    return f"{option.name}={option.kind.value.removesuffix('>0')}"


_LOCAL = Option("local", "local", Kind.FLAG, "as this node stands, also without a quorum")
_AT = Option("rev", "rev", Kind.REVISION, "as it was at revision N")
_IF = Option("if", "if_rev", Kind.REVISION, "only if unchanged since revision N; 0: not there")
_FROM = Option("from", "after_rev", Kind.REVISION, "what happened after revision N")

VERBS: Final[tuple[Verb, ...]] = (
    Verb(
        name="GET",
        command=Get,
        target=Target.PATH,
        options=(_LOCAL, _AT),
        replies="VALUE rev value",
        help="The value of a node and the revision that last changed it.",
        example=("GET /message", "  VALUE 5 hello, world"),
    ),
    Verb(
        name="SET",
        command=Set,
        target=Target.PATH,
        takes_value=True,
        options=(_IF,),
        replies="OK rev",
        help="Give a node a value; it and its parents are made where missing.",
        example=("SET /message hello, world", "  OK 5"),
    ),
    Verb(
        name="ADD",
        command=Add,
        target=Target.PATH,
        takes_value=True,
        options=(
            Option("seq", "sequential", Kind.FLAG, "append the parent's next number, ten digits"),
        ),
        replies="OK rev /path",
        help="Make a node that must not be there yet; the reply names it.",
        example=("ADD seq /jobs/job- sweep", "  OK 6 /jobs/job-0000000001"),
    ),
    Verb(
        name="DEL",
        command=Delete,
        target=Target.PATH,
        options=(
            _IF,
            Option("tree", "tree", Kind.FLAG, "with all that is below it"),
        ),
        replies="OK rev",
        help="Delete a node; one with children only with tree.",
        example=("DEL /message", "  OK 7"),
    ),
    Verb(
        name="STAT",
        command=Stat,
        target=Target.PATH,
        options=(_LOCAL, _AT),
        replies="STAT /path key=value ...",
        help="What is known of a node beside its value.",
    ),
    Verb(
        name="LIST",
        command=List,
        target=Target.PATH,
        options=(_LOCAL, _AT),
        replies="ITEM name ..., END rev",
        help="The names of a node's children, sorted.",
    ),
    Verb(
        name="WALK",
        command=Walk,
        target=Target.GLOB,
        options=(
            _LOCAL,
            _AT,
            Option("after", "after", Kind.PATH, "only what comes after this path"),
            Option("limit", "limit", Kind.COUNT, "at most N rows"),
        ),
        replies="NODE path rev value ..., END rev",
        help="The nodes that hold a value, in path order: one consistent picture.",
        example=("WALK /services/**", "  NODE /services/web/1 6 up", "  END 8"),
    ),
    Verb(
        name="WATCH",
        command=Watch,
        target=Target.GLOB,
        options=(_FROM,),
        replies="OK rev, then EVENT rev set|del path [value] ...",
        help="Every change, in order, none missed, none twice.",
        example=("#w WATCH /services/**", "  #w OK 8", "  #w EVENT 9 set /services/db/1 up"),
    ),
    Verb(
        name="UNWATCH",
        command=Unwatch,
        target=Target.GLOB,
        replies="OK rev",
        help="End this connection's watches on that glob.",
    ),
    Verb(
        name="WAIT",
        command=Wait,
        target=Target.GLOB,
        options=(
            _FROM,
            Option("timeout", "timeout_seconds", Kind.SECONDS, "give up after S seconds"),
        ),
        replies="EVENT rev set|del path [value]",
        help="The first change after now, or after revision N.",
    ),
    Verb(
        name="REV",
        command=Rev,
        target=Target.NOTHING,
        replies="OK rev",
        help="This node's revision as it stands.",
    ),
    Verb(
        name="SYNC",
        command=Sync,
        target=Target.NOTHING,
        replies="OK rev",
        help="This node's revision once it has all that was committed before.",
    ),
    Verb(
        name="STATUS",
        command=Status,
        target=Target.NOTHING,
        replies="ITEM name=value ..., END rev",
        help="How this node is: role, leader, quorum, revision and more.",
    ),
    Verb(
        name="MEMBERS",
        command=Members,
        target=Target.NOTHING,
        replies="ITEM node host:port voter|observer up|down ..., END rev",
        help="The cluster as this node sees it.",
    ),
    Verb(
        name="PING",
        command=Ping,
        target=Target.NOTHING,
        replies="OK",
        help="Nothing but an answer.",
    ),
    Verb(
        name="HELP",
        command=Help,
        target=Target.WORD,
        replies="HELP text ..., END rev",
        help="What can be asked, or all about one verb.",
    ),
    Verb(
        name="QUIT",
        command=Quit,
        target=Target.NOTHING,
        replies="OK",
        help="Answer, then close the connection.",
    ),
)


def weight_bytes(commands: Iterable[Command]) -> int:
    """Return about how much memory and wire some commands take, and never less than the wire."""
    return sum(
        64
        + _width(getattr(command, "path", "") or getattr(command, "glob", ""))
        + len(getattr(command, "value", b""))
        for command in commands
    )


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
