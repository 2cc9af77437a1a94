"""What stands beside the tree, back from the pieces of an image.

Only what cannot be seen from elsewhere is in an image: which nodes a session owns stands in the
nodes, which locks it has in the locks.
"""

from __future__ import annotations

from coord.store.answers import Answers
from coord.store.history import History
from coord.store.locks import Holder, Lock, Locks, Place
from coord.store.picture import (
    IMAGE_VERSION,
    Answered,
    Expired,
    Header,
    Held,
    Holding,
    Opened,
    Waiting,
)
from coord.store.sequences import Sequences
from coord.store.sessions import Sessions
from coord.store.state import State
from coord.store.tree import Tree


class Beside:
    """Sessions and locks on their way from an image."""

    def __init__(self) -> None:
        self._expired: list[str] = []
        self._sessions = Sessions()
        self._locks = Locks()
        self._names: dict[str, str] = {}

    def shared(self, name: str) -> str:
        """Return the one text for the owner of many nodes: its session's own."""
        session = self._sessions.live.get(name)
        return self._names.setdefault(name, name) if session is None else session.id

    def add(self, piece: Expired | Opened | Answered | Held | Holding | Waiting) -> None:
        """Take in a piece; `ValueError` where it does not fit those before it."""
        try:
            self._add(piece)
        except KeyError as error:
            raise ValueError(f"an image names {error}, which is not in it") from None

    def _add(self, piece: Expired | Opened | Answered | Held | Holding | Waiting) -> None:
        match piece:
            case Expired():
                self._expired += piece.sessions
            case Opened():
                for identity in piece.sessions:
                    self._sessions.restore(identity)
            case Answered():
                for session, word, answer in piece.answers:
                    self._answer(session, word, answer)
            case Held():
                self._locks.live.update((key, Lock(key, before)) for key, before in piece.locks)
            case Holding():
                for key, holder in piece.holders:
                    self._hold(key, holder)
            case Waiting():
                for key, place in piece.places:
                    self._wait(key, place)

    def _hold(self, key: str, holder: Holder) -> None:
        self._locks.hold(key, holder)
        if not holder.is_lost:
            self._sessions.live[holder.session].locks[key] = None

    def _wait(self, key: str, place: Place) -> None:
        self._locks.live[key].queue[place.session] = place
        self._sessions.live[place.session].waits[key] = place.number

    def _answer(self, name: str, word: str, answer: bytes) -> None:
        session = self._sessions.live[name]
        if session.answers is None:
            session.answers = Answers()
        session.answers.add(word, answer)

    def state(self, tree: Tree, history: History, sequences: Sequences, header: Header) -> State:
        """Return all that a store is; `ValueError` where its parts do not fit together."""
        sessions, locks = self._sessions, self._locks
        sessions.restore_expired(self._expired)
        locks.number = header.number
        state = State(tree, history, sequences, sessions, locks, header.digest)
        state.is_inherited = header.is_inherited or header.version < IMAGE_VERSION
        for key, version in tree.live.items():
            if version.ttl_ms:
                state.mortal[key] = None
            if version.owner is not None:
                sessions.own(key, None, version.owner)
                if version.owner not in sessions.live and key not in locks.live:
                    raise ValueError("a node of an image belongs to nobody")
        if not all(lock.holders and key in tree.live for key, lock in locks.live.items()):
            raise ValueError("a lock of an image is held by nobody, or has no node")
        return state
