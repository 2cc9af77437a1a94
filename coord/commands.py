"""Every request as a frozen value; how clients write them is in `coord.verbs`.

Writes travel: through peers' links and in the journal they are arrays that begin with
the tag given here. A tag is never given to anything else, and a field is only ever
added at the end, with a default. Times in them are whole milliseconds, so that every node
reads the same number.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec


# -- who asks -----------------------------------------------------------------------
class Level(enum.IntEnum):
    """What a caller may do where ``/ctl/acl`` has no rules; each includes those below it."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Caller(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who asks for something: it travels with a batch, and is what rules and ``LOG`` look at.

    ``who`` is a secret's or a certificate's name, ``anonymous`` for a client that gave
    neither, and empty for the cluster itself. ``address`` is the client's ``host:port``, or names
    the front end that it came through. ``session`` is the id of its session, empty where it
    has none.
    """

    who: str = ""
    address: str = ""
    level: int = Level.ADMIN
    session: str = ""

    def author(self) -> str:
        """Return who and from where, in one word, as ``LOG`` tells it."""
        if not self.who:
            return "cluster"
        return f"{self.who}@{self.address}" if self.address else self.who


CLUSTER: Final = Caller()
"""The cluster itself: may do all, and has no session."""


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
    not changed after revision N. ``ephemeral``: the node goes with the caller's session.
    ``ttl_ms``: the node goes so long after the last `Set`. Without these two a node that is there
    keeps the owner and the lifetime that it has; ``ttl_ms=0`` takes the lifetime away.
    """

    path: str
    value: bytes
    if_rev: int | None = None
    ephemeral: bool = False
    ttl_ms: int | None = None


class Add(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Make a node that must not be there yet.

    ``sequential`` appends the parent's next number, ten digits, to ``path``. ``ephemeral`` and
    ``ttl_ms`` as in `Set`.
    """

    path: str
    value: bytes
    sequential: bool = False
    ephemeral: bool = False
    ttl_ms: int | None = None


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Delete a node; ``tree`` with all below it. ``if_rev`` as in `Set`.

    Of the node of a lock: by its holder only, who gives the lock up by it.
    """

    path: str
    if_rev: int | None = None
    tree: bool = False


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Open the session ``session``, an id that no session ever had, for the caller.

    The key that lets a client take it up stays outside: ``key_hash`` is all that the cluster
    knows of it. The id is made up by the node that was asked, so that writes which need the
    session may follow at once, in the same batch.
    """

    session: str
    key_hash: bytes
    timeout_ms: int


class EndSession(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """End a session: its nodes, locks and places in queues go, in one revision."""

    session: str


class Lapse(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Time is up: the leader's own word, proposed under its ballot and never handed on.

    ``sessions`` were not kept alive. ``nodes`` (path and the revision that last changed the
    value) have lived out their ``ttl``. ``waits`` (path, session, the place's number) have waited
    for a lock as long as they wanted to; ``delays`` (path, token) are locks whose holder was
    lost, and whose lock-delay is over. What has changed meanwhile is passed over.
    """

    sessions: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()
    waits: tuple[tuple[str, str, int], ...] = ()
    delays: tuple[tuple[str, int], ...] = ()


class Roster(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Who the cluster's nodes are, as of the configuration chosen in this very slot.

    ``members`` are pairs of name and what ``/ctl/members/NAME`` is to hold: ``host:port``, and
    after a space ``observer`` where it has no vote. Never in a log by itself: every node makes it
    of the configuration when that is applied. One revision, none where nothing changes.
    """

    members: tuple[tuple[str, str], ...]


class Lock(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Take the lock at ``path`` for the caller's session, or a place in the queue for it.

    ``value`` is what the node holds meanwhile; ``None`` leaves what is there (empty where
    nothing is). ``wait_ms`` 0: no place in the queue. ``delay_ms``: how long nobody else gets
    the lock after the holder's session has ended. By a session that holds the lock
    already, or has its place in the queue: answered as it stands, nothing is done.
    """

    path: str
    value: bytes | None = None
    shared: bool = False
    wait_ms: int = 0
    delay_ms: int = 0


class Unlock(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Give up the lock at ``path``, or the place in its queue."""

    path: str


class Check(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Within a transaction: go on only if the node has not changed after revision ``if_rev`` (0:
    is not there), and if the lock at it is still held under ``token``, by whatever session.
    """

    path: str
    if_rev: int | None = None
    token: int | None = None


class Look(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Within a transaction: what the node holds at this place of it."""

    path: str


Part: TypeAlias = Set | Add | Delete | Check | Look
PARTS: Final = (Set, Add, Delete, Check, Look)


class Transaction(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """All of ``parts`` in their order at one revision, or nothing."""

    parts: tuple[Part, ...]


class Revert(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Set a node to ``value``, which is what it held at revision ``rev``. ``if_rev`` as in `Set`.

    The node that is asked looks the value up, since how much history is kept differs from
    node to node; on its way in ``value`` is ``None``. It stays that where nothing was found, which
    ``refusal`` then is the code for.
    """

    path: str
    rev: int
    if_rev: int | None = None
    value: bytes | None = None
    refusal: str = ""


Plain: TypeAlias = Set | Add | Delete | Lock | Unlock | Transaction | Revert


class Once(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """A write that its client gave a name of its own, unique within the caller's session.

    Done once; again, it is answered as it was.
    """

    word: str
    write: Plain


Write: TypeAlias = Genesis | Roster | OpenSession | EndSession | Lapse | Once | Plain
WRITES: Final = (
    Set, Add, Delete, Once, Transaction, Lock, Unlock, Revert,
    OpenSession, EndSession, Lapse, Genesis, Roster,
)  # fmt: skip
WRITE_KINDS: Final = frozenset(WRITES)
"""The same for who asks of each command: to look in a set costs a tenth of ``isinstance``."""


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
    """The nodes that match ``glob`` (as written) and hold a value, after path ``after``.

    ``lasting``: without those that go with a session, as `coord.results.Aside` in their place,
    and with the lifetime of those that have one: what there would be if all sessions ended.
    """

    glob: str
    local: bool = False
    rev: int | None = None
    after: str | None = None
    limit: int | None = None
    lasting: bool = False


class Sync(msgspec.Struct, frozen=True, gc=False):
    """This node's revision once it has all that was committed before the call."""


class Rev(msgspec.Struct, frozen=True, gc=False):
    """This node's revision as it stands."""


class Log(msgspec.Struct, frozen=True, gc=False):
    """Who changed what matches ``glob``, newest first, as far back as history is kept."""

    glob: str
    local: bool = False
    limit: int | None = None


class Blame(msgspec.Struct, frozen=True, gc=False):
    """Who gave a node the value that it has."""

    path: str
    local: bool = False


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What the write was answered that the caller's session called ``word``."""

    word: str


class Resume(msgspec.Struct, frozen=True, gc=False):
    """Whether there is such a session, and the key is its own."""

    session: str
    key: str


Read: TypeAlias = Get | Stat | List | Walk | Sync | Rev | Log | Blame | Outcome | Resume
READS: Final = (Get, Stat, List, Walk, Sync, Rev, Log, Blame, Outcome, Resume)


# -- what concerns the connection or the node -------------------------------------------
class Watch(msgspec.Struct, frozen=True, gc=False):
    """Tell every change that matches ``glob`` (as written) after ``after_rev`` or from now.

    ``diff``: where history does not go back so far, first tell how what is there differs from
    what was there then. ``lasting`` as in `Walk`.
    """

    glob: str
    after_rev: int | None = None
    diff: bool = False
    lasting: bool = False


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


class Deed(enum.Enum):
    """What is to become of a node in the cluster."""

    ADD = "add"
    REMOVE = "remove"
    PROMOTE = "promote"
    REPLACE = "replace"


class ChangeMembers(msgspec.Struct, frozen=True, array_like=True):
    """Change who the cluster's nodes are. Wants ``admin``.

    ``ADD``: ``node`` at ``address`` learns, and votes once it is close, unless ``is_observer``.
    ``REMOVE``: ``node`` is no member any more. ``PROMOTE``: a learner gets its vote now, if it is
    close. ``REPLACE``: ``successor`` at ``address`` learns, and takes the vote of ``node`` in one
    step once it is close; by the same name it is ``node`` on an empty disk, which is admitted anew.
    ``force`` does what would lose the quorum; ``plan`` does nothing and tells before and after.
    """

    deed: Deed
    node: str
    address: str = ""
    successor: str = ""
    is_observer: bool = False
    force: bool = False
    plan: bool = False


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Nothing but an answer."""


class Help(msgspec.Struct, frozen=True, gc=False):
    """Teach the protocol, or one verb of it."""

    verb: str | None = None


class Quit(msgspec.Struct, frozen=True, gc=False):
    """Answer, then close the connection."""


class Session(msgspec.Struct, frozen=True, gc=False):
    """Open a session, or tell the one that this connection has; at most one field is given.

    ``resume`` (id and key) takes one up, ``keep`` answers once the leader has heard of it, so
    that it holds for its whole timeout from when this was sent; ``end`` ends it.
    """

    timeout_ms: int | None = None
    resume: tuple[str, str] | None = None
    keep: bool = False
    end: bool = False


class Begin(msgspec.Struct, frozen=True, gc=False):
    """Begin a transaction: what follows under the same tag, or none, is queued."""


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Do all that was queued, at one revision, or nothing."""


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Forget what was queued."""


class Auth(msgspec.Struct, frozen=True, gc=False):
    """Show a secret. Its representation does not."""

    secret: bytes

    def __repr__(self) -> str:
        return "Auth(...)"


Local: TypeAlias = (
    Watch | Unwatch | Wait | Status | Members | ChangeMembers | Ping | Help | Quit
    | Session | Begin | Commit | Abort | Auth
)  # fmt: skip
Command: TypeAlias = Write | Read | Local | Check


def weight_bytes(commands: Iterable[Command]) -> int:
    """Return about how much memory and wire some commands take, and never less than the wire."""
    return sum(map(_weight, commands))


def _weight(command: Command | Part) -> int:
    kind = type(command)
    if kind is Set:
        return 64 + _width(command.path) + len(command.value)  # type: ignore[union-attr, arg-type]
    if kind is Transaction:
        return 64 + sum(map(_weight, command.parts))  # type: ignore[union-attr, arg-type]
    if kind is Once:
        return 64 + len(command.word) + _weight(command.write)  # type: ignore[union-attr]
    name = getattr(command, "path", "") or getattr(command, "glob", "")
    return 64 + _width(name) + len(getattr(command, "value", b"") or b"")


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
