"""A cluster of nodes with sessions, and connections that have them."""

from __future__ import annotations

from coord.commands import Caller, Level
from coord.errors import CoordError
from coord.events import SessionEvent, Trouble
from coord.limits import EXPIRY_GRACE_SECONDS
from coord.replicator.interfaces import IAttachment
from coord.results import Granted, Opened
from tests.replicator.case import Asked, Case

GRACE = EXPIRY_GRACE_SECONDS
LATE_SECONDS = 0.1
"""A tick, and a slot."""


class Client:
    """A connection to one node that has a session."""

    def __init__(self, case: SessionCase, name: str, session: str, *, own: bool = False) -> None:
        self.case = case
        self.name = name
        self.session = session
        self.events: list[SessionEvent] = []
        self.kept: list[CoordError | None] = []
        self.locks: list[Granted | CoordError] = []
        coordinator = case.nodes[name].coordinator
        self.attachment: IAttachment = coordinator.attach(session, self.events.append, own=own)

    @property
    def troubles(self) -> list[Trouble]:
        """What befell its session."""
        return [event.kind for event in self.events]

    def keep(self) -> None:
        """Ask that the session be kept."""
        self.attachment.keep(self.kept.append)

    def submit(self, *commands: object) -> Asked:
        """Ask for something as this session."""
        asked = Asked()
        caller = Caller("ann", "10.0.0.7:1", Level.WRITE, self.session)
        coordinator = self.case.nodes[self.name].coordinator
        coordinator.submit(commands, asked, caller)  # type: ignore[arg-type]
        return asked

    def await_lock(self, path: str) -> None:
        """Wait for its place in the queue."""
        coordinator = self.case.nodes[self.name].coordinator
        coordinator.await_lock(path, self.session, self.locks.append)


class SessionCase(Case):
    """Opens sessions, and looks at what goes between nodes."""

    def elect(self) -> None:
        """Wait until one of the linked nodes leads."""
        for _ in range(200):
            self.advance(0.02)
            linked = [name for name in self.nodes if name not in self.hub.cut]
            if "leader" in [self.fact(name, "role") for name in linked]:
                return
        self.fail("nobody leads")

    def open(self, name: str, seconds: float = 10.0, *, own: bool = False) -> Client:
        """Open a session at a node and attach a connection to it."""
        write, _ = self.nodes[name].coordinator.new_session(round(seconds * 1000))
        asked = self.submit(name, write)
        self.advance(0.1)
        self.assertEqual(asked.results, [Opened(write.session, write.timeout_ms)])
        return Client(self, name, write.session, own=own)

    def is_open(self, session: str, name: str = "") -> bool:
        """Say whether a session is open, as a node has it, or all those that are linked."""
        names = [name] if name else [one for one in self.nodes if one not in self.hub.cut]
        found = {session in self.nodes[one].replicator.store.timeouts_ms for one in names}
        self.assertEqual(len(found), 1, "nodes differ")
        return found.pop()

    def assert_ends(self, session: str, seconds: float) -> None:
        """Expect a session to be open for so long, and to be over a moment later."""
        self.advance(seconds - 2 * LATE_SECONDS)
        self.assertTrue(self.is_open(session), "early")
        self.advance(2 * LATE_SECONDS + GRACE + LATE_SECONDS)
        self.assertFalse(self.is_open(session), "late")

    def sent(self, name: str, kind: type) -> int:
        """Return how many messages of a kind a node has sent."""
        return sum(isinstance(message, kind) for _, message in self.hub.links[name].sent)
