"""People with sessions, who ask something of one store."""

from __future__ import annotations

from coord.commands import (
    Caller,
    EndSession,
    Lapse,
    Level,
    Lock,
    Once,
    OpenSession,
    Outcome,
    Part,
    Plain,
    Resume,
    Set,
    Transaction,
    Unlock,
    Write,
)
from coord.results import Granted, Queued, Written
from coord.store.news import News
from coord.store.sessions import key_hash
from tests.store.case import StoreTestCase

TIMEOUT_MS = 10_000


def named(session: str = "", who: str = "anonymous", level: int = Level.ADMIN) -> Caller:
    """Return a caller with a session, or without one."""
    return Caller(who, "h:1", level, session)


class UsersTestCase(StoreTestCase):
    """A store, and words for what people with sessions ask of it."""

    def do(self, session: str, write: Write) -> object:
        """Do a write for a session, or for somebody who has none."""
        self.time_ms += 1
        return self.store.apply(write, self.time_ms, named(session))

    def open(self, *sessions: str) -> None:
        """Open sessions whose key is their name."""
        for session in sessions:
            self.do("", OpenSession(session, key_hash(session), TIMEOUT_MS))

    def end(self, session: str) -> object:
        """End a session, as its client wants."""
        return self.do(session, EndSession(session))

    def lapse(self, *sessions: str, **spans: tuple[tuple[object, ...], ...]) -> object:
        """Let time be up."""
        return self.do("", Lapse(sessions, **spans))  # type: ignore[arg-type]

    def ephemeral(self, session: str, path: str, value: bytes = b"v") -> object:
        """Set a node that goes with a session."""
        return self.do(session, Set(path, value, ephemeral=True))

    def mortal(self, path: str, ttl_ms: int | None, value: bytes = b"v") -> object:
        """Set a node that goes after a while."""
        return self.do("", Set(path, value, ttl_ms=ttl_ms))

    def lock(
        self,
        session: str,
        path: str,
        value: bytes | None = None,
        *,
        shared: bool = False,
        wait_ms: int = 0,
        delay_ms: int = 0,
    ) -> object:
        """Ask for a lock."""
        return self.do(session, Lock(path, value, shared, wait_ms, delay_ms))

    def token(self, session: str, path: str, value: bytes | None = None, **how: bool) -> int:
        """Take a lock that is free; return the token."""
        result = self.lock(session, path, value, **how)
        assert isinstance(result, Granted), result
        return result.token

    def place(self, session: str, path: str, value: bytes | None = None, **how: bool) -> int:
        """Line up for a lock that is not free; return the number."""
        result = self.lock(session, path, value, wait_ms=60_000, **how)
        assert isinstance(result, Queued), result
        return result.number

    def unlock(self, session: str, path: str) -> object:
        """Give a lock up, or a place in its queue."""
        return self.do(session, Unlock(path))

    def once(self, session: str, word: str, write: Plain) -> object:
        """Do a write under a name of its own."""
        return self.do(session, Once(word, write))

    def outcome(self, session: str, word: str) -> object:
        """Ask what was answered to a write."""
        return self.store.answer(Outcome(word), named(session))

    def resume(self, session: str, key: str) -> object:
        """Take a session up."""
        return self.store.answer(Resume(session, key))

    def together(self, *parts: Part, session: str = "") -> object:
        """Do a transaction."""
        return self.do(session, Transaction(parts))

    def holders(self, path: str) -> tuple[str, ...]:
        """Return who holds a lock."""
        return self.facts(path).holders

    def news(self, kind: type) -> list[News]:
        """Return the news of one kind since the last time."""
        return [one for one in self.store.news() if isinstance(one, kind)]

    def reload(self) -> None:
        """Go on with a store made from an image of this one."""
        before = self.store.describe()
        self.store.seal()
        image = list(self.store.picture().pieces())
        self.store = self.reloaded()
        self.assertEqual(list(self.store.picture().pieces()), image, before)

    def made(self, result: object) -> int:
        """Return the revision that a write made."""
        assert isinstance(result, Written), result
        return result.rev
