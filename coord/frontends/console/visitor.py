"""Who is at the console: a name, a key, and what that key allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.conch.avatar import ConchUser
from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import OPEN_RESOURCE_SHORTAGE
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from coord.frontends.console.colours import clean
from coord.frontends.console.keys import KnownKey
from coord.frontends.console.words import Subjects, Words

QUIET: Final = Logger(namespace="coord.console", observer=lambda event: None)  # type: ignore[arg-type]
"""For conch's own lines, which do not say of whom they tell; ours do."""
SESSIONS_MAX: Final = 10
"""Sessions of one connection; as many as OpenSSH's server allows."""
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

    def words(self) -> Words:
        """Return the words for this visitor."""
        return Words(self.subjects, is_operator=self.is_operator)

    def namespace(self) -> dict[str, Any]:
        """Return what Python sees beside the words."""
        subjects = self.subjects
        return {
            "coordinator": subjects.coordinator,
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
