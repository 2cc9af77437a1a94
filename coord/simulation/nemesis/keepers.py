"""Clients with a session: opened, kept, taken up on another node, and asked under.

A session is opened with ``SESSION``, kept with ``SESSION keep``, and taken up on another node when
the one that was asked has gone. Its first deed is its *marker*, an ephemeral node by which the
judges learn from the log when it ended.
"""

from __future__ import annotations

import random
from typing import Any, Final

from coord.client.replies import Credentials
from coord.commands import Caller, Command, Level, Once, Session, Set
from coord.errors import NoSession, Overloaded, SessionExpired, Unavailable, Unknown
from coord.events import SessionEvent, Trouble
from coord.results import Written
from coord.simulation.deeds import Deed, SessionLife
from coord.simulation.nemesis.clients import AGAIN_SECONDS, PATIENCE_SECONDS, Client
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.line import Line, Lost
from coord.simulation.nemesis.record import Record

TIMEOUTS_SECONDS: Final = (1.0, 2.0, 3.0)
KEEPS_PER_TIMEOUT: Final = 5
HASTE: Final = 0.15
HASTE_SECONDS_MAX: Final = 0.03
AFRESH: Final = (Unavailable, Overloaded, Unknown)
OVER: Final = (SessionExpired, NoSession)


class SessionClient(Client):
    """One client with one session at a time.

    ``stands_until`` is until when it does not even keep its session.
    """

    def __init__(self, name: str, field: Field, record: Record, dice: random.Random) -> None:
        super().__init__(name, field, record, dice)
        self.life: SessionLife | None = None
        self.is_marked = False
        self.stands_until = 0.0
        self._key = ""
        self._attached: Line | None = None
        """The connection that has the session: on others nobody knows of it yet."""
        self._written = 0
        self._words = 0

    def value(self) -> bytes:
        """Return a value that nobody else writes."""
        self._written += 1
        return f"{self.name}:{self._written}".encode()

    # -- the session ----------------------------------------------------------------------------
    async def connect(self) -> None:
        """Dial a node, and take the session up there if there is one."""
        await super().connect()
        life = self.life
        if life is None:
            return
        told = await self.ask(Session(resume=(life.session, self._key)))
        if isinstance(told, OVER):
            self._heard_of_the_end(life, told)
        if not isinstance(told, Credentials):
            raise Lost(f"not taken up: {told!r}")
        self._attached = self.line
        self.record.count("sessions taken up")

    async def begin(self) -> None:
        """Open a session, where there is none, and make its marker."""
        if self.life is None:
            timeout_seconds = self.dice.choice(TIMEOUTS_SECONDS)
            asked_at = self.record.now()
            told = await self.ask(Session(timeout_ms=int(1000 * timeout_seconds)))
            if not isinstance(told, Credentials):
                raise Lost(f"not opened: {told!r}")
            self._key, self.is_marked, self._attached = told.key, False, self.line
            self.life = life = SessionLife(
                client=self.name,
                session=told.session,
                timeout_seconds=told.timeout_ms / 1000,
                opened_at=asked_at,
                own=False,
                keeps=[],
                last_word_at=asked_at,
                troubles=[],
            )
            self.record.ledger.lives[told.session] = life
            self.record.count("sessions")
        marker = Set(self.record.path("e", self.life.session), self.value(), ephemeral=True)
        self.is_marked = isinstance(await self.do_once(marker), Written)

    async def keep(self) -> None:
        """Keep the session, whichever it is, until the client is stopped."""
        while not self.is_stopped:
            life, line = self.life, self._attached
            seconds = AGAIN_SECONDS if life is None else life.timeout_seconds / KEEPS_PER_TIMEOUT
            await self.field.sleep(seconds)
            now = self.record.now()
            if life is None or line is None or life is not self.life or line.is_lost:
                continue
            if now < self.stands_until:
                continue
            try:
                told = await line.ask(Session(keep=True), life.timeout_seconds)
            except Lost:
                continue
            if isinstance(told, Credentials) and told.session == life.session:
                life.keeps.append(now)
                self.record.count("sessions kept")
            elif isinstance(told, OVER):
                self._heard_of_the_end(life, told)

    async def end(self) -> None:
        """End the session; raises `Lost` where nobody said that it is."""
        assert self.life is not None
        self.life.ended_at = self.record.now()
        try:
            told = await self.ask(Session(end=True))
            self.record.count(f"sessions ended, answered {getattr(told, 'code', 'OK')}")
        finally:
            self.forget()

    def troubled(self, event: Any) -> None:
        """Hear from a node what befell the session."""
        life = self.life
        if not isinstance(event, SessionEvent) or life is None or event.session != life.session:
            return
        self.record.count(f"sessions told {event.kind.value}")
        life.troubles.append((self.record.now(), self.node.name, event))
        if event.kind is Trouble.EXPIRED:
            self.forget()

    def _heard_of_the_end(self, life: SessionLife, told: Any) -> None:
        self.record.count(f"sessions found {told.code}")
        if life is self.life:
            event = SessionEvent(0, Trouble.EXPIRED, life.session)
            life.troubles.append((self.record.now(), self.node.name, event))
            self.forget()

    def forget(self) -> None:
        """Have no session and no connection."""
        self.life = None
        self.is_marked = False
        self.leave()

    # -- deeds ----------------------------------------------------------------------------------
    async def do(self, command: Command, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return what is told of a command, after it was written down."""
        record, life = self.record, self.life
        if life is None:
            raise Lost("no session")
        deed = Deed(
            client=self.name,
            caller=Caller(self.name, "", Level.ADMIN, life.session),
            node=self.node.name,
            command=command,
            asked=record.moment(),
            asked_at=record.now(),
        )
        record.ledger.deeds.append(deed)
        outcome = await self.ask(command, seconds)
        deed.told, deed.told_at, deed.outcome = record.moment(), record.now(), outcome
        record.counted(outcome)
        if isinstance(outcome, OVER):
            self._heard_of_the_end(life, outcome)
            raise Lost("the session is over")
        return outcome

    async def do_once(self, write: Any) -> Any:
        """Ask for a write under an id, on any node, until it is answered or the session over.

        Now and then hang up before there is an answer: that is what ids are for.
        """
        life, again = self.life, 0
        self._words += 1
        named = Once(f"w{self._words}", write)
        while life is not None and life is self.life and not self.is_stopped:
            try:
                if self.line is None or self.line.is_lost:
                    await self.connect()
                hasty = self.dice.random() < HASTE
                patience = HASTE_SECONDS_MAX * self.dice.random() if hasty else PATIENCE_SECONDS
                outcome = await self.do(named, patience)
            except Lost:
                self.leave()
                await self.field.sleep(AGAIN_SECONDS)
            else:
                if not isinstance(outcome, AFRESH):
                    self.record.count("ids asked for again", again)
                    return outcome
                if self.dice.random() < 0.5:
                    self.leave()
                await self.field.sleep(AGAIN_SECONDS)
            again += 1
        raise Lost("the session is over")
