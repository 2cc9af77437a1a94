"""What the one loop needs of the world, declared by the loop that owns it.

The I/O floor provides these, the simulator provides them again, and both providers sit the
same examination (``tests/journal``, ``tests/peers``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred

from coord.commands import CLUSTER, Caller, ChangeMembers, OpenSession, Read, Write
from coord.errors import CoordError
from coord.events import SessionEvent
from coord.paths import Glob
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Durable, Save, Value
from coord.results import Granted, Items, LockRow, Result, Rows, SessionRow
from coord.store.watches import Watch


class Recovered(msgspec.Struct, frozen=True):
    """What a journal held when it was opened.

    ``incarnation`` counts the openings of this directory and is durable before it is told.
    ``image`` are the pieces of the newest whole image, in order, empty where there is none;
    ``durable.base`` is the slot up to which that image goes. ``disk`` is the name that the
    directory was given by chance when it was made, and keeps.
    """

    incarnation: int
    durable: Durable
    image: Iterator[bytes]
    disk: str = ""


class IJournalObserver(Protocol):
    """Who hears from a journal, always in the reactor's thread, never inside a call to it."""

    def saved(self, ticket: int) -> None:
        """Take note that every save up to the one with this ticket is on the disk."""

    def failed(self, error: Exception) -> None:
        """Stop acknowledging: a save could not be made, and no later one will be."""


class IImageWriter(Protocol):
    """One image on its way into the journal. Pieces are kept in order."""

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece; fires once the disk is ready for the next."""

    def finish(self) -> Deferred[None]:
        """Make this image the one that recovery reads; drop older ones, in small steps."""

    def abandon(self) -> None:
        """Forget the image; its pieces are dropped."""


class IJournal(Protocol):
    """The disk of one node: durable saves, the log, and images of the store."""

    def recover(self) -> Recovered:
        """Read what is there. Called once, first, and may block."""

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told what happened; called once, before the first save."""

    def save(self, save: Save) -> None:
        """Queue a save; all queued at one time become durable by one fsync."""

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with the values from ``slot`` to before ``until`` that the log still has.

        They are consecutive and begin at ``slot``; as many as fit, at least one; none at all
        where the log no longer (or not yet) has ``slot``.
        """

    def oldest(self) -> int:
        """Return the first slot that the log still has."""

    def start_image(self, slot: int) -> IImageWriter:
        """Begin an image of the state after ``slot``. One at a time."""

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``, in small steps between saves."""

    def close(self) -> Deferred[None]:
        """Finish what is queued, then let go of the disk."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself before there is a link.

    ``disk`` names its directory, "" where the node is of a release that had no names for them.
    Its acceptor has ``promised`` a ballot, and its votes, or what it knows to be chosen, reach to
    slot ``reach``. It knows a configuration that governs from ``slot`` on, of the history called
    ``founding`` ("" where it does not know). ``address`` is where it is to be reached. ``protocol``
    is the version that a link with it speaks.
    """

    node: str
    incarnation: int
    disk: str = ""
    address: str = ""
    promised: Ballot = NEVER
    reach: int = 0
    slot: int = 0
    is_observer: bool = False
    founding: str = ""
    protocol: int = 0


class Why(enum.Enum):
    """Why a node is not wanted."""

    STRANGER = "stranger"
    """The cluster has no such member (any more)."""
    OTHER_DISK = "other disk"
    """Its disk is not the one that was admitted: it was emptied, or is another machine's."""
    SET_BACK = "set back"
    """Its disk was set back: it has promised, or voted, more than it knows of."""
    OTHER_HISTORY = "other history"
    """Its cluster has this one's name, but was founded another time."""
    FOUNDED_ANEW = "founded anew"
    """So it was, and the node was a member here, on another disk: it was emptied."""


class Unfit(msgspec.Struct, frozen=True):
    """Why a node gets no link, as one line, by a configuration that governs from ``slot`` on.

    A node that is `SET_BACK` was heard to have ``promised`` and to ``reach`` so far. A card may be
    older than that, if it was long on its way: the node itself knows.
    """

    why: Why
    text: str
    slot: int
    promised: Ballot = NEVER
    reach: int = 0


class IAdmission(Protocol):
    """Who decides which nodes this one has links with. Asked from the reactor's thread."""

    def card(self) -> Card:
        """Return what this node says of itself now."""

    def judge(self, card: Card) -> Unfit | None:
        """Return why a node gets no link, None where it gets one.

        Asked before the link is up, so the node of a `STRANGER` is known of only from its card: an
        observer's is taken for a wish to become a member.
        """

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Take note that ``peer`` refuses a link with this node, and why."""


class IPeersObserver(Protocol):
    """Who hears from the links."""

    def received(self, sender: str, frame: bytes) -> None:
        """Take a whole frame of a peer whose identity was verified.

        Raises `ValueError` where the frame makes no sense; the link is then closed.
        """

    def connected(self, peer: str) -> None:
        """Take note that a link to ``peer`` is up: what was sent before may be lost."""

    def disconnected(self, peer: str) -> None:
        """Take note that there is no link to ``peer`` any more."""


class IPeers(Protocol):
    """Links to the other nodes: unreliable, ordered per link, bounded."""

    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told; called once, before ``start``."""

    def admit_by(self, admission: IAdmission) -> None:
        """Say who decides on links; called once, before ``start``. Else all nodes are fit."""

    def move(self, addresses: Mapping[str, str]) -> None:
        """Have links with these nodes (name: ``host:port``) and no others, from now on.

        This node's own name may be among them and is left out. Links with others are closed,
        after what is queued; whose address is another now is dialled there.
        """

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link, by name."""

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close the link with ``peer`` and tell it why; no matter where there is none."""

    def send(self, peer: str, frame: bytes) -> None:
        """Queue a frame; dropped where there is no link or too much is queued.

        All frames queued in one turn leave in one write.
        """

    def flush(self) -> None:
        """Write what is queued now; the loop says so at the end of its turn."""

    def connected(self) -> frozenset[str]:
        """Return the peers to whom there is a link."""


class IAttachment(Protocol):
    """A connection's hold on its session, at one node."""

    def touch(self) -> None:
        """Take note that the client was heard of. Costs next to nothing; called for every chunk."""

    def keep(self, told: Callable[[CoordError | None], None]) -> None:
        """Make sure that the session holds for its whole timeout from now on.

        ``told`` once: ``None`` when the leader, certain to lead, has heard of it; else why not:
        `SessionExpired`, `NoSession`, or `Unavailable` after the time that requests have.
        """

    def detach(self) -> None:
        """Have nothing to do with the session any more; it lives on. Safe to call twice."""


class ICoordinator(Protocol):
    """What a front end needs of the loop: requests in, answers and events out.

    Everything happens in the reactor's thread; nothing here blocks. ``caller`` says for whom
    something is asked: its rights are looked at by the store itself, as it is then.
    """

    @property
    def rev(self) -> int:
        """This node's revision as it stands."""

    def submit(
        self,
        commands: Sequence[Write | Read],
        answer: Callable[[Sequence[Result]], None],
        caller: Caller = CLUSTER,
    ) -> None:
        """Do a group of commands in order; ``answer`` gets a result for each, once.

        It may be called before this returns. Groups that write take effect in the order in
        which they were submitted. A `coord.commands.Lock` that has to wait is answered with
        `Queued`: see `await_lock`. A `coord.commands.Revert` comes without its value.
        """

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
        *,
        lasting: bool = False,
    ) -> Watch:
        """Watch from now, or from a revision on; ``wake`` is called when there is something.

        :param lasting: as in `coord.commands.Walk`.
        :raises TooLate: when the history after that revision is gone; it names the oldest one to go
            on from.
        :raises Denied: when the caller may read nothing that matches.
        :raises Unavailable: when this node takes part no more; so does, then, `Watch.take` of those
            that were open.
        """

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Return how what matches now differs from what was there at a revision long gone.

        A `Row` for each node whose value changed since, the path of each that did not; what is
        in neither is gone. To be followed by a watch from ``rows.rev`` on, begun at once.
        """

    def new_session(self, timeout_ms: int) -> tuple[OpenSession, str]:
        """Return the write that opens a session, and the key, of which it holds a hash only."""

    def attach(
        self, session: str, told: Callable[[SessionEvent], None], *, own: bool
    ) -> IAttachment:
        """Bind a connection to a session; ``told`` hears of its troubles, `EXPIRED` last.

        :param own: the session is the connection's own: kept as long as that is there.
        """

    def await_lock(
        self, path: str, session: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for what becomes of a session's place in the queue of a lock.

        ``told`` once, perhaps at once: `Granted`; `TimedOut` when it has waited for as long as it
        wanted to; `NotHeld` when it was given up; `NoSession` or `SessionExpired`. Returns
        what ends the waiting (not the place).
        """

    def status(self) -> Items:
        """Return how this node is, as ``name=value``."""

    def members(self) -> Items:
        """Return the cluster as this node sees it: node, address, part, up or down."""

    def change_members(
        self, change: ChangeMembers, answer: Callable[[Result], None], caller: Caller = CLUSTER
    ) -> None:
        """Change who the members are, or tell what would become of it; ``answer`` once.

        `Written` once the new configuration governs, and a majority of its voters has all that went
        before (a node that was added learns then, and votes later by itself); `Items` for a plan.
        `Denied` below ``admin``; `NoEntry` or `Exists` where the names do not fit what there is;
        `BadRequest` where the change would lose the quorum, with the arithmetic, or makes no sense;
        `Unavailable` where there is no quorum; `Unknown` where its fate could not be learned in the
        time that requests have.
        """

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first, as this node has them."""

    def locks(self) -> list[LockRow]:
        """Return the locks in path order, as this node has them."""
