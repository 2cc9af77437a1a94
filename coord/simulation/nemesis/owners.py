"""Clients with sessions: they hold locks, write under tokens, own nodes, and ask again by id.

A session is opened with ``SESSION``, kept with ``SESSION keep``, and taken up on another node when
the one that was asked has gone. Its first deed is its *marker*, an ephemeral node by which the
judges learn from the log when it ended. Now and then an owner vanishes without a word, or stands
still for longer than its session lives and goes on as if nothing had been.
"""

from __future__ import annotations

import random
from typing import Any, Final

from coord.client.replies import Credentials
from coord.commands import (
    Add,
    Caller,
    Check,
    Command,
    Level,
    Lock,
    Look,
    Once,
    Session,
    Set,
    Transaction,
    Unlock,
)
from coord.errors import NoSession, Overloaded, SessionExpired, Unavailable, Unknown
from coord.events import SessionEvent, Trouble
from coord.results import Granted, Written
from coord.simulation.deeds import Deed, Hold, SessionLife
from coord.simulation.nemesis.clients import AGAIN_SECONDS, PATIENCE_SECONDS, Client
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.line import Line, Lost
from coord.simulation.nemesis.record import Record

TIMEOUTS_SECONDS: Final = (1.0, 2.0, 3.0)
KEEPS_PER_TIMEOUT: Final = 5
LOCKS: Final = ("a", "b", "c")
WAIT_SECONDS: Final = 2.0
DELAYS_MS: Final = (0, 0, 500)
HOLD_SECONDS_MAX: Final = 0.5
STILL_SECONDS_MAX: Final = 5.0
AFRESH: Final = (Unavailable, Overloaded, Unknown)
OVER: Final = (SessionExpired, NoSession)


class Owner(Client):
    """One client with one session at a time."""

    def __init__(self, name: str, field: Field, record: Record, dice: random.Random) -> None:
        super().__init__(name, field, record, dice)
        self._life: SessionLife | None = None
        self._key = ""
        self._is_marked = False
        self._attached: Line | None = None
        """The connection that has the session: on others nobody knows of it yet."""
        self._written = 0
        self._words = 0
        self._stands_until = 0.0

    # -- what to do next ------------------------------------------------------------------------
    async def act(self) -> None:
        """Do one errand."""
        if self._life is None or not self._is_marked:
            await self._begin()
            return
        chance = self.dice.random()
        if chance < 0.5:
            await self._hold_lock()
        elif chance < 0.75:
            await self._do_once(Add(self.record.path("x", "n-"), self._value(), sequential=True))
        elif chance < 0.9:
            name = self.dice.choice(("shared", self.name))
            write = Set(self.record.path("e", name), self._value(), ephemeral=True)
            await self._do(write)
        elif chance < 0.94:
            self.record.count("sessions moved")
            self.leave()
        elif chance < 0.96:
            await self._vanish()
        elif chance < 0.98:
            await self._stand_still()
        else:
            await self._end()

    def _value(self) -> bytes:
        self._written += 1
        return f"{self.name}:{self._written}".encode()

    async def _vanish(self) -> None:
        self.record.count("owners that vanished")
        self._over()
        await self.field.sleep(self.dice.random() * STILL_SECONDS_MAX)

    async def _stand_still(self) -> None:
        """Neither ask nor keep, as a stopped process does."""
        self.record.count("owners that stood still")
        seconds = self.dice.random() * STILL_SECONDS_MAX
        self._stands_until = self.record.now() + seconds
        await self.field.sleep(seconds)

    # -- the session ----------------------------------------------------------------------------
    async def connect(self) -> None:
        """Dial a node, and take the session up there if there is one."""
        await super().connect()
        life = self._life
        if life is None:
            return
        told = await self.ask(Session(resume=(life.session, self._key)))
        if isinstance(told, OVER):
            self._heard_of_the_end(life, told)
        if not isinstance(told, Credentials):
            raise Lost(f"not taken up: {told!r}")
        self._attached = self.line
        self.record.count("sessions taken up")

    async def _begin(self) -> None:
        """Open a session, where there is none, and make its marker."""
        if self._life is None:
            timeout_seconds = self.dice.choice(TIMEOUTS_SECONDS)
            asked_at = self.record.now()
            told = await self.ask(Session(timeout_ms=int(1000 * timeout_seconds)))
            if not isinstance(told, Credentials):
                raise Lost(f"not opened: {told!r}")
            self._key, self._is_marked, self._attached = told.key, False, self.line
            self._life = life = SessionLife(
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
        marker = Set(self.record.path("e", self._life.session), self._value(), ephemeral=True)
        self._is_marked = isinstance(await self._do_once(marker), Written)

    async def keep(self) -> None:
        """Keep the session, whichever it is, until the client is stopped."""
        while not self.is_stopped:
            life, line = self._life, self._attached
            seconds = AGAIN_SECONDS if life is None else life.timeout_seconds / KEEPS_PER_TIMEOUT
            await self.field.sleep(seconds)
            now = self.record.now()
            if life is None or line is None or life is not self._life or line.is_lost:
                continue
            if now < self._stands_until:
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

    async def _end(self) -> None:
        assert self._life is not None
        self._life.ended_at = self.record.now()
        try:
            told = await self.ask(Session(end=True))
            self.record.count(f"sessions ended, answered {getattr(told, 'code', 'OK')}")
        finally:
            self._over()

    def troubled(self, event: Any) -> None:
        """Hear from a node what befell the session."""
        life = self._life
        if not isinstance(event, SessionEvent) or life is None or event.session != life.session:
            return
        self.record.count(f"sessions told {event.kind.value}")
        life.troubles.append((self.record.now(), self.node.name, event))
        if event.kind is Trouble.EXPIRED:
            self._over()

    def _heard_of_the_end(self, life: SessionLife, told: Any) -> None:
        self.record.count(f"sessions found {told.code}")
        if life is self._life:
            event = SessionEvent(0, Trouble.EXPIRED, life.session)
            life.troubles.append((self.record.now(), self.node.name, event))
            self._over()

    def _over(self) -> None:
        """Have no session and no connection."""
        self._life = None
        self._is_marked = False
        self.leave()

    # -- deeds ----------------------------------------------------------------------------------
    async def _do(self, command: Command, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return what is told of a command, after it was written down."""
        record, life = self.record, self._life
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

    async def _do_once(self, write: Any) -> Any:
        """Ask for a write under an id, on any node, until it is answered or the session over."""
        life, again = self._life, 0
        self._words += 1
        named = Once(f"w{self._words}", write)
        while life is not None and life is self._life and not self.is_stopped:
            try:
                if self.line is None or self.line.is_lost:
                    await self.connect()
                outcome = await self._do(named)
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

    # -- locks ----------------------------------------------------------------------------------
    async def _hold_lock(self) -> None:
        """Take a lock, write under it, give it up."""
        path = self.record.path("l", self.dice.choice(LOCKS))
        lock = Lock(
            path,
            self._value(),
            shared=self.dice.random() < 0.4,
            wait_ms=self.dice.choice((0, int(1000 * WAIT_SECONDS), int(1000 * WAIT_SECONDS))),
            delay_ms=self.dice.choice(DELAYS_MS),
        )
        try:
            told = await self._do(lock, PATIENCE_SECONDS + WAIT_SECONDS)
        except Lost:
            self.leave()
            if self._life is not None:
                await self._do_once(Unlock(path))  # it may be ours, and nobody told us
            raise
        if isinstance(told, Granted):
            await self._held(lock, told.token)
        elif isinstance(told, Unknown):
            await self._do_once(Unlock(path))

    async def _held(self, lock: Lock, token: int) -> None:
        life = self._life
        if life is None:
            return
        hold = Hold(
            client=self.name,
            session=life.session,
            path=lock.path,
            shared=lock.shared,
            token=token,
            told_at=self.record.now(),
        )
        self.record.ledger.holds.append(hold)
        self.record.count("locks held")
        try:
            await self._use(hold)
        except Lost:
            self.leave()
        if self._life is life:
            hold.given_up_at = self.record.now()
            await self._do_once(Unlock(lock.path))
            if self.dice.random() < 0.1:
                await self._write_under(hold)  # which must not be done any more

    async def _use(self, hold: Hold) -> None:
        """Do what a lock is good for, for a while; now and then for too long."""
        if self.dice.random() < 0.6:
            await self._write_under(hold)
        await self.field.sleep(self.dice.random() * HOLD_SECONDS_MAX)
        if self.dice.random() < 0.05:
            await self._stand_still()
            await self._write_under(hold)

    async def _write_under(self, hold: Hold) -> None:
        """Write what only the holder may, now and then under an id."""
        guarded = f"/g/{hold.path[3:]}"
        parts = (Check(hold.path, token=hold.token), Look(guarded), Set(guarded, self._value()))
        write = Transaction(parts)
        told = await (self._do_once(write) if self.dice.random() < 0.5 else self._do(write))
        self.record.count(f"writes under a token, answered {getattr(told, 'code', 'OK')}")
