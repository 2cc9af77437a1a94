"""The open sessions: who opened them, what they own, and what they were answered.

A session is known by its id, which everybody may see. Its key is made up outside; here is only a
hash of it. What a session owns is found in the tree (`coord.store.tree.Version.owner`) and in the
locks; the indices here follow from those.

Time is the business of others: that a session was not kept alive is told by a
`coord.commands.Lapse` in the log.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from coord.commands import Caller, OpenSession, Resume
from coord.errors import CoordError
from coord.limits import SESSIONS_EXPIRED_KEPT, SESSIONS_MAX
from coord.results import Opened
from coord.store import refusals
from coord.store.answers import Answers

Note: TypeAlias = tuple[object, ...]
"""A change of what stands beside the tree, for the digest: a word, then what was changed."""

_ALL_TAKEN: Final = float("inf")


def key_hash(key: str) -> bytes:
    """Return what the cluster knows of a session's key."""
    return hashlib.sha256(key.encode()).digest()


class Identity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a session is for its whole life."""

    session: str
    key_hash: bytes
    timeout_ms: int
    author: str
    opened_ms: int


class Session(msgspec.Struct, eq=False, gc=False):
    """One open session.

    ``nodes`` and ``locks`` are keys of what it owns and holds, ``waits`` those of the locks in
    whose queues it stands, with the numbers of its places. ``ordinal`` grows from each
    session to the next.
    """

    identity: Identity
    ordinal: int
    nodes: dict[str, None] = msgspec.field(default_factory=dict)
    locks: dict[str, None] = msgspec.field(default_factory=dict)
    waits: dict[str, int] = msgspec.field(default_factory=dict)
    answers: Answers | None = None

    @property
    def id(self) -> str:
        """The name that everybody may know."""
        return self.identity.session


class AnswersPicture:
    """What all sessions were answered at one moment, to be taken while they go on.

    A session that is answered anew spares its old answers for those who have not come to it.
    """

    def __init__(self, sessions: Iterable[Session]) -> None:
        self._sessions = [one for one in sessions if one.answers is not None]
        self._spared: dict[int, list[tuple[str, bytes]]] = {}
        self._taken_to: float = -1

    def spare(self, session: Session) -> None:
        """Keep what a session was answered until now, if it is still wanted."""
        if session.ordinal > self._taken_to and session.ordinal not in self._spared:
            kept = [] if session.answers is None else list(session.answers.items())
            self._spared[session.ordinal] = kept

    def rows(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield session, word and answer, in the order in which they came to be."""
        for session in self._sessions:
            assert session.answers is not None
            spared = self._spared.pop(session.ordinal, None)
            kept = list(session.answers.items()) if spared is None else spared
            self._taken_to = session.ordinal
            for word, answer in kept:
                yield session.id, word, answer
        self.close()

    def close(self) -> None:
        """Want nothing more."""
        self._taken_to = _ALL_TAKEN
        self._sessions = []
        self._spared.clear()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is wanted."""
        return self._taken_to == _ALL_TAKEN


class Sessions:
    """All open sessions, oldest first, and the last of those that expired."""

    __slots__ = ("_expired", "_ordinal", "_pictures", "_timeouts_ms", "live", "notes")

    def __init__(self) -> None:
        self.live: dict[str, Session] = {}
        self.notes: list[Note] = []
        self._timeouts_ms: dict[str, int] = {}
        self._expired: OrderedDict[str, None] = OrderedDict()
        self._pictures: list[AnswersPicture] = []
        self._ordinal = 0

    @property
    def timeouts_ms(self) -> Mapping[str, int]:
        """The open sessions and their timeouts."""
        return MappingProxyType(self._timeouts_ms)

    def expired(self) -> list[str]:
        """Return the sessions that expired last, the one that did so first in front."""
        return list(self._expired)

    # -- beginnings and ends ---------------------------------------------------------
    def open(self, write: OpenSession, time_ms: int, caller: Caller) -> Opened | CoordError:
        """Open a session."""
        if write.session in self.live or write.session in self._expired:
            return refusals.session_used(write.session)
        if len(self.live) >= SESSIONS_MAX:
            return refusals.too_many_sessions()
        author = caller.author()
        identity = Identity(write.session, write.key_hash, write.timeout_ms, author, time_ms)
        self.restore(identity)
        self.notes.append(("open", identity))
        return Opened(write.session, write.timeout_ms)

    def restore(self, identity: Identity) -> Session:
        """Take in a session that is younger than all others."""
        self._ordinal += 1
        session = self.live[identity.session] = Session(identity, self._ordinal)
        self._timeouts_ms[identity.session] = identity.timeout_ms
        return session

    def restore_expired(self, expired: Iterable[str]) -> None:
        """Take in the sessions that expired last."""
        self._expired.update(dict.fromkeys(expired))

    def remove(self, session: Session, *, is_expired: bool) -> None:
        """Forget a session; of one that expired the name is remembered."""
        del self.live[session.id], self._timeouts_ms[session.id]
        self.notes.append(("over", session.id, is_expired))
        if is_expired:
            self._expired[session.id] = None
            if len(self._expired) > SESSIONS_EXPIRED_KEPT:
                self._expired.popitem(last=False)

    # -- questions -------------------------------------------------------------------
    def find(self, session: str) -> Session | CoordError:
        """Return a session that is open, or why there is none."""
        found = self.live.get(session)
        return self.refusal(session) if found is None else found

    def refusal(self, session: str) -> CoordError:
        """Return what is said of a session that is not open."""
        if session in self._expired:
            return refusals.session_expired(session)
        return refusals.no_session(session) if session else refusals.session_needed()

    def resume(self, read: Resume, _caller: Caller) -> Opened | CoordError:
        """Say whether there is such a session and the key is its own."""
        session = self.find(read.session)
        if isinstance(session, CoordError):
            return session
        if not hmac.compare_digest(key_hash(read.key), session.identity.key_hash):
            return refusals.wrong_key()
        return Opened(session.id, session.identity.timeout_ms)

    # -- what they own -----------------------------------------------------------------
    def own(self, key: str, old: str | None, new: str | None) -> None:
        """Note that a node passed from one owner to another."""
        if old is not None:
            session = self.live.get(old)
            if session is not None:
                session.nodes.pop(key, None)
        if new is not None:
            session = self.live.get(new)
            if session is not None:
                session.nodes[key] = None

    # -- what they were answered ---------------------------------------------------------
    def remember(self, session: Session, word: str, answer: bytes) -> None:
        """Keep an answer under the name that the client gave to its write."""
        self._spare(session)
        if session.answers is None:
            session.answers = Answers()
        session.answers.add(word, answer)
        self.notes.append(("answer", session.id, word, answer))

    def settle(self, session: Session, number: int, answer: bytes) -> None:
        """Tell what became of a place in a queue where the answer was only that there is one."""
        if session.answers is not None and session.answers.is_open(number):
            self._spare(session)
            for word in session.answers.settle(number, answer):
                self.notes.append(("answer", session.id, word, answer))

    def picture(self) -> AnswersPicture:
        """Return what all were answered as it is now."""
        picture = AnswersPicture(self.live.values())
        self._pictures = [one for one in self._pictures if not one.is_closed]
        self._pictures.append(picture)
        return picture

    def _spare(self, session: Session) -> None:
        for picture in self._pictures:
            picture.spare(session)
