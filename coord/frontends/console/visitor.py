"""Who is at the console: a name, a key, and what that key allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.conch.avatar import ConchUser
from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import OPEN_RESOURCE_SHORTAGE
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from coord.commands import Caller, Level, Read, Write
from coord.frontends.access import CONSOLE
from coord.frontends.console.colours import clean
from coord.frontends.console.keys import KnownKey
from coord.frontends.console.words import Subjects, Words
from coord.paths import Glob
from coord.replicator.coordinator import Coordinator
from coord.replicator.queues import Answer
from coord.results import Rows
from coord.store.watches import Watch

QUIET: Final = Logger(namespace="coord.console", observer=lambda event: None)  # type: ignore[arg-type]
"""For conch's own lines, which do not say of whom they tell; ours do."""
SESSIONS_MAX: Final = 10
"""Sessions of one connection; as many as OpenSSH's server allows."""
NAME_LETTERS_MAX: Final = 64
"""Of a key's comment, which is its owner's name to the store."""
LOGGED_LETTERS_MAX: Final = 200
_LOG: Final = Logger()


@attrs.frozen(kw_only=True)
class Visitor:
    """Someone who came in: under which name, by which key, from where."""

    user: str
    key: KnownKey
    where: str
    subjects: Subjects
    clock: IReactorTime

    @property
    def is_operator(self) -> bool:
        """Whether Python and what changes something is allowed."""
        return self.key.is_operator

    @property
    def node(self) -> str:
        """The node's name."""
        return self.subjects.replicator.account.identity.node

    @property
    def who(self) -> str:
        """The user with the key, as the log names them."""
        comment = f"{clean(self.key.comment)}, " if self.key.comment else ""
        return f"{self.user} ({comment}{self.key.fingerprint})"

    @property
    def caller(self) -> Caller:
        """Who asks when this visitor does: the key, whatever user name was given with it.

        An operator may do all; a reader reads, or what rules say if there are any.
        """
        name = (self.key.comment or self.key.fingerprint)[:NAME_LETTERS_MAX]
        level = Level.ADMIN if self.is_operator else Level.READ
        return Caller(f"{CONSOLE}{name}", self.where, level)

    def words(self) -> Words:
        """Return the words for this visitor."""
        return Words(self.subjects, self.caller, is_operator=self.is_operator)

    def namespace(self) -> dict[str, Any]:
        """Return what Python sees beside the words."""
        subjects = self.subjects
        return {
            "coordinator": OnBehalf(subjects.coordinator, self.caller),
            "replicator": subjects.replicator,
            "store": subjects.replicator.store,
            "transport": subjects.transport,
        }

    def say(self, what: str) -> None:
        """Put into the node's log what this visitor does."""
        text = clean(what)
        if len(text) > LOGGED_LETTERS_MAX:
            text = f"{text[:LOGGED_LETTERS_MAX]}..."
        _LOG.info("console: {who}: {text}", who=self.who, text=text)


class OnBehalf:
    """A coordinator that asks as one caller, unless told otherwise; so ``LOG`` names people."""

    def __init__(self, coordinator: Coordinator, caller: Caller) -> None:
        self._coordinator = coordinator
        self._caller = caller

    def submit(
        self, commands: Sequence[Write | Read], answer: Answer, caller: Caller | None = None
    ) -> None:
        """Do a group of commands; see `Coordinator.submit`."""
        self._coordinator.submit(commands, answer, caller or self._caller)

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller | None = None,
    ) -> Watch:
        """Watch from now, or from a revision on; see `Coordinator.watch`."""
        return self._coordinator.watch(glob, after_rev, wake, caller or self._caller)

    def difference(self, glob: Glob, after_rev: int, caller: Caller | None = None) -> Rows:
        """Return how what matches now differs from what was there; see `Coordinator.difference`."""
        return self._coordinator.difference(glob, after_rev, caller or self._caller)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coordinator, name)


class Visit(ConchUser):
    """A visitor's connection: sessions and nothing else, no forwarding of any kind."""

    def __init__(self, visitor: Visitor, make: Callable[..., Any]) -> None:
        ConchUser.__init__(self)
        self.visitor = visitor
        self._make = make

    def lookupChannel(
        self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes
    ) -> Any:
        """Return a new session; anything else a client may open is refused."""
        if channelType == b"session" and len(self.conn.channels) >= SESSIONS_MAX:
            raise ConchError(OPEN_RESOURCE_SHORTAGE, "too many sessions on this connection")
        if channelType == b"session":
            return self._make(
                remoteWindow=windowSize, remoteMaxPacket=maxPacket, data=data, avatar=self
            )
        return ConchUser.lookupChannel(self, channelType, windowSize, maxPacket, data)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Refuse: there is nothing to ask of the node as a whole."""
        return 0
