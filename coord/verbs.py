"""The one table of verbs: how each request of `coord.commands` is written and taught.

It feeds the grammar of the line protocol, ``HELP``, the command line, the console and the
documentation; nothing about a verb is written down anywhere else.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from coord.commands import (
    Abort,
    Add,
    Auth,
    Begin,
    Blame,
    ChangeMembers,
    Check,
    Commit,
    Delete,
    Get,
    Help,
    List,
    Lock,
    Log,
    Members,
    Outcome,
    Ping,
    Quit,
    Rev,
    Revert,
    Session,
    Set,
    Stat,
    Status,
    Sync,
    Unlock,
    Unwatch,
    Wait,
    Walk,
    Watch,
)  # fmt: skip


class Kind(enum.Enum):
    """What an option's value is, and how a usage line writes it.

    ``SECONDS`` become a float, ``MILLISECONDS`` (written as seconds, too) a whole number of
    them; a ``SESSION`` becomes a pair of id and key.
    """

    FLAG = "flag"
    REVISION = "N"
    COUNT = "N>0"
    SECONDS = "S"
    MILLISECONDS = "S "
    PATH = "/path"
    WORD = "WORD"
    SESSION = "ID:KEY"


class Target(enum.Enum):
    """What follows the options."""

    NOTHING = ""
    PATH = "/path"
    GLOB = "/glob"
    WORD = "[verb]"
    NAME = "WORD"
    SECRET = "secret"  # noqa: S105 - the word
    CHANGE = "add|remove|promote|replace ..."


class Value(enum.Enum):
    """Whether a value follows the path."""

    NONE = ""
    OPTIONAL = "[value]"
    WANTED = "value"


class Option(msgspec.Struct, frozen=True):
    """An option as typed, the command's field that it fills, and what it says."""

    name: str
    field: str
    kind: Kind
    help: str
    required: bool = False

    def usage(self) -> str:
        """Return the option as a usage line shows it."""
        text = self.name
        if self.kind is not Kind.FLAG:
            text = f"{self.name}={self.kind.value.strip().removesuffix('>0')}"
        return text if self.required else f"[{text}]"


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One verb: how it is written, what it becomes, how it is taught.

    ``forms`` are what the last words may be, each with what it does. ``replies`` says what comes
    back; ``example`` holds lines to type and lines that come back (those begin with two spaces).
    """

    name: str
    command: type[msgspec.Struct]
    target: Target
    value: Value = Value.NONE
    options: tuple[Option, ...] = ()
    forms: tuple[tuple[str, str], ...] = ()
    replies: str
    help: str
    example: tuple[str, ...] = ()

    def usage(self) -> str:
        """Return the verb's grammar in one line."""
        words = [self.name, *(option.usage() for option in self.options)]
        return " ".join(word for word in (*words, self.target.value, self.value.value) if word)


_LOCAL = Option("local", "local", Kind.FLAG, "as this node stands, also without a quorum")
_AT = Option("rev", "rev", Kind.REVISION, "as it was at revision N")
_IF = Option("if", "if_rev", Kind.REVISION, "only if unchanged since revision N; 0: not there")
_FROM = Option("from", "after_rev", Kind.REVISION, "what happened after revision N")
_EPHEMERAL = Option("ephemeral", "ephemeral", Kind.FLAG, "it goes with this connection's session")
_TTL = Option("ttl", "ttl_ms", Kind.MILLISECONDS, "it goes S seconds after the last SET")
_LASTING = Option("lasting", "lasting", Kind.FLAG, "without what goes with a session")
_LIMIT = Option("limit", "limit", Kind.COUNT, "at most N rows")

ONCE: Final = Option(
    "id", "word", Kind.WORD, "a name of your own: sent again, it is not done again"
)
"""The option of every write that makes a `coord.commands.Once` of it."""

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
        value=Value.WANTED,
        options=(_IF, _EPHEMERAL, _TTL, ONCE),
        replies="OK rev",
        help="Give a node a value; it and its parents are made where missing.",
        example=("SET /message hello, world", "  OK 5"),
    ),
    Verb(
        name="ADD",
        command=Add,
        target=Target.PATH,
        value=Value.WANTED,
        options=(
            Option("seq", "sequential", Kind.FLAG, "append the parent's next number, ten digits"),
            _EPHEMERAL,
            _TTL,
            ONCE,
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
            ONCE,
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
            _LIMIT,
            _LASTING,
        ),
        replies="NODE path rev value ..., END rev",
        help="The nodes that hold a value, in path order: one consistent picture.",
        example=("WALK /services/**", "  NODE /services/web/1 6 up", "  END 8"),
    ),
    Verb(
        name="WATCH",
        command=Watch,
        target=Target.GLOB,
        options=(
            _FROM,
            Option("diff", "diff", Kind.FLAG, "where N is too old: first how things differ"),
            _LASTING,
        ),
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
        name="BEGIN",
        command=Begin,
        target=Target.NOTHING,
        replies="OK QUEUED",
        help="Begin a transaction: SET, ADD, DEL, CHECK, GET are queued from here.",
        example=("BEGIN", "  OK QUEUED", "SET /a 1", "  OK QUEUED", "COMMIT", "  OK 10"),
    ),
    Verb(
        name="CHECK",
        command=Check,
        target=Target.PATH,
        options=(
            _IF,
            Option("token", "token", Kind.REVISION, "only if the lock is held under token N"),
        ),
        replies="OK QUEUED",
        help="Inside a transaction: it is done only if this holds.",
        example=("BEGIN", "  OK QUEUED", "CHECK token=9 /leader", "  OK QUEUED"),
    ),
    Verb(
        name="COMMIT",
        command=Commit,
        target=Target.NOTHING,
        options=(ONCE,),
        replies="VALUE of each GET and ITEM /path of each ADD seq, then OK rev",
        help="Do all that was queued at one revision; or nothing, and say why.",
    ),
    Verb(
        name="ABORT",
        command=Abort,
        target=Target.NOTHING,
        replies="OK",
        help="Forget the transaction.",
    ),
    Verb(
        name="SESSION",
        command=Session,
        target=Target.NOTHING,
        options=(
            Option("timeout", "timeout_ms", Kind.MILLISECONDS, "how long it outlives its silence"),
            Option("resume", "resume", Kind.SESSION, "take up the one with this id and key"),
            Option("keep", "keep", Kind.FLAG, "answered once it surely holds for its timeout"),
            Option("end", "end", Kind.FLAG, "end it, and what it owns"),
        ),
        replies="OK ID:KEY timeout=S",
        help="Open the owner of ephemeral nodes and locks, or tell its ID:KEY.",
        example=("SESSION timeout=10", "  OK 5f0e9a3c71d2b846:kJ2... timeout=10"),
    ),
    Verb(
        name="LOCK",
        command=Lock,
        target=Target.PATH,
        value=Value.OPTIONAL,
        options=(
            Option("shared", "shared", Kind.FLAG, "beside others who share it"),
            Option("wait", "wait_ms", Kind.MILLISECONDS, "wait in line for S seconds"),
            Option("delay", "delay_ms", Kind.MILLISECONDS, "nobody gets it for S after a loss"),
            ONCE,
        ),
        replies="OK token",
        help="Take a lock: fair, in order of arrival; tokens only grow.",
        example=("LOCK wait=30 /leader host-7", "  OK 11"),
    ),
    Verb(
        name="UNLOCK",
        command=Unlock,
        target=Target.PATH,
        options=(ONCE,),
        replies="OK rev",
        help="Give the lock up, or the place in its queue.",
    ),
    Verb(
        name="OUTCOME",
        command=Outcome,
        target=Target.NAME,
        replies="as the write that had id=WORD",
        help="What the write of this session was answered that had that id.",
    ),
    Verb(
        name="LOG",
        command=Log,
        target=Target.GLOB,
        options=(_LIMIT, _LOCAL),
        replies="ITEM rev path verb author time ..., END rev",
        help="Who changed what and when, newest first.",
    ),
    Verb(
        name="BLAME",
        command=Blame,
        target=Target.PATH,
        options=(_LOCAL,),
        replies="ITEM rev path verb author time, END rev",
        help="Who gave a node the value that it has.",
    ),
    Verb(
        name="REVERT",
        command=Revert,
        target=Target.PATH,
        options=(
            Option("rev", "rev", Kind.REVISION, "what it held at revision N", required=True),
            _IF,
            ONCE,
        ),
        replies="OK rev",
        help="Set a node back to what it held at a revision.",
    ),
    Verb(
        name="AUTH",
        command=Auth,
        target=Target.SECRET,
        replies="OK read|write|admin",
        help="Show a secret; from then on this connection may do more.",
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
        name="MEMBER",
        command=ChangeMembers,
        target=Target.CHANGE,
        options=(
            Option("plan", "plan", Kind.FLAG, "do nothing; tell before and after"),
            Option("force", "force", Kind.FLAG, "also what would lose the quorum"),
        ),
        forms=(
            ("add NAME HOST:PORT [observer]", "it learns, and votes once it is close"),
            ("remove NAME", "it is no member any more, and stops"),
            ("promote NAME", "an observer gets its vote"),
            ("replace OLD NEW HOST:PORT", "NEW learns, then has OLD's vote"),
            ("replace OLD OLD HOST:PORT", "OLD is back on an empty disk"),
        ),
        replies="OK rev; of a plan ITEM text ..., END rev",
        help="Change who the cluster's nodes are, one at a time. Wants admin.",
        example=(
            "MEMBER plan remove n3",
            "MEMBER add n4 10.0.0.4:8076",
            "  OK 12",
            "MEMBER replace n1 n5 10.0.0.5:8076",
            "  OK 14",
        ),
    ),
    Verb(
        name="PING",
        command=Ping,
        target=Target.NOTHING,
        replies="OK",
        help="Nothing but an answer; like any traffic, it keeps the session.",
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
