"""Clients that own things: they hold locks, write under tokens, own nodes, and ask again by id.

Now and then an owner vanishes without a word, or stands still for longer than its session lives
and goes on as if nothing had been.
"""

from __future__ import annotations

from typing import Final

from coord.commands import Add, Check, Lock, Look, Set, Transaction, Unlock
from coord.errors import Unknown
from coord.results import Granted
from coord.simulation.deeds import Hold
from coord.simulation.nemesis.clients import PATIENCE_SECONDS
from coord.simulation.nemesis.keepers import SessionClient
from coord.simulation.nemesis.line import Lost

LOCKS: Final = ("a", "b", "c")
WAIT_SECONDS: Final = 2.0
DELAYS_MS: Final = (0, 0, 500)
HOLD_SECONDS_MAX: Final = 0.5
STILL_SECONDS_MAX: Final = 5.0


class Owner(SessionClient):
    """One client with one session at a time, and one errand under way at a time."""

    # -- what to do next ------------------------------------------------------------------------
    async def act(self) -> None:
        """Do one errand."""
        if self.life is None or not self.is_marked:
            await self.begin()
            return
        chance = self.dice.random()
        if chance < 0.5:
            await self._hold_lock()
        elif chance < 0.75:
            await self.do_once(Add(self.record.path("x", "n-"), self.value(), sequential=True))
        elif chance < 0.9:
            name = self.dice.choice(("shared", self.name))
            write = Set(self.record.path("e", name), self.value(), ephemeral=True)
            await self.do(write)
        elif chance < 0.94:
            self.record.count("sessions moved")
            self.leave()
        elif chance < 0.96:
            await self._vanish()
        elif chance < 0.98:
            await self._stand_still()
        else:
            await self.end()

    async def _vanish(self) -> None:
        self.record.count("owners that vanished")
        self.forget()
        await self.field.sleep(self.dice.random() * STILL_SECONDS_MAX)

    async def _stand_still(self) -> None:
        """Neither ask nor keep, as a stopped process does."""
        self.record.count("owners that stood still")
        seconds = self.dice.random() * STILL_SECONDS_MAX
        self.stands_until = self.record.now() + seconds
        await self.field.sleep(seconds)

    # -- locks ----------------------------------------------------------------------------------
    async def _hold_lock(self) -> None:
        """Take a lock, write under it, give it up."""
        path = self.record.path("l", self.dice.choice(LOCKS))
        lock = Lock(
            path,
            self.value(),
            shared=self.dice.random() < 0.4,
            wait_ms=self.dice.choice((0, int(1000 * WAIT_SECONDS), int(1000 * WAIT_SECONDS))),
            delay_ms=self.dice.choice(DELAYS_MS),
        )
        try:
            told = await self.do(lock, PATIENCE_SECONDS + WAIT_SECONDS)
        except Lost:
            self.leave()
            if self.life is not None:
                await self.do_once(Unlock(path))  # it may be ours, and nobody told us
            raise
        if isinstance(told, Granted):
            await self._held(lock, told.token)
        elif isinstance(told, Unknown):
            await self.do_once(Unlock(path))

    async def _held(self, lock: Lock, token: int) -> None:
        life = self.life
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
        if self.life is life:
            hold.given_up_at = self.record.now()
            await self.do_once(Unlock(lock.path))
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
        parts = (Check(hold.path, token=hold.token), Look(guarded), Set(guarded, self.value()))
        write = Transaction(parts)
        told = await (self.do_once(write) if self.dice.random() < 0.5 else self.do(write))
        self.record.count(f"writes under a token, answered {getattr(told, 'code', 'OK')}")
