"""The life of a session: opened once, taken up on one server after another, kept, and over.

::

              taken_up             unlinked, doubted
    unopened ----------> attached -------------------> adrift
                             ^                            |
                             '---- taken_up, trusted -----'        end: from everywhere

How long it holds is counted on this end, from the moment a question was *sent* that the
leader has confirmed. The leader counts from when it heard of it, which was later; so here it is
over first, also where the two clocks run at different rates (`CLOCK_DRIFT_MAX`). The clock must not
stand still while the machine sleeps. A margin before that end is left to whoever has something
to stop before others may go on.

A process may be stopped and wake up after that end. Its timers are late then, and a socket may be
served before them. So whoever is about to act calls `Living.check` first; that is the client,
before it takes in or sends out anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from automat import TypeMachineBuilder
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from coord import commands
from coord.client.replies import Credentials
from coord.errors import CoordError, Overloaded, SessionExpired, Unavailable
from coord.limits import CLIENT_SILENCE_SECONDS, CLOCK_DRIFT_MAX, REDIAL_SECONDS_MAX

_KEEPS_PER_TIMEOUT: Final = 3
_PATIENCES_PER_TIMEOUT: Final = 4
"""A server that has not answered after this part of the timeout is left for another."""
_RETRIES_PER_TIMEOUT: Final = 12


class Life(Protocol):
    """What befalls a session."""

    def linked(self) -> None:
        """Hear that there is a server to speak to."""

    def unlinked(self) -> None:
        """Hear that there is none any more."""

    def taken_up(self, told: Credentials, asked_at: float) -> None:
        """Hear that the server has opened it, or knows it."""

    def doubted(self) -> None:
        """Hear that the server cannot keep it alive at present."""

    def trusted(self) -> None:
        """Hear that it can."""

    def end(self, why: CoordError | None) -> None:
        """Hear that it is over, or must be taken for that; ``None``: it was ended."""


@attrs.define(kw_only=True)
class Living:
    """What the life of a session works with.

    :param now: the time, on a clock that goes on while the machine sleeps.
    :param margin_seconds: how long before others may go on it is taken for lost.
    :param ask: asks the present server; what it says comes later, or never.
    :param forsake: leaves the present server for another, if there is one.
    :param changed: hears that the state is another.
    :param over: hears once that it is over, and why; ``None`` where it was ended.
    """

    clock: IReactorTime
    now: Callable[[], float]
    timeout_seconds: float
    margin_seconds: float
    ask: Callable[[commands.Session, Callable[[Any], None]], None]
    forsake: Callable[[], None]
    changed: Callable[[], None]
    over: Callable[[CoordError | None], None]
    state: str = "unopened"
    credentials: Credentials | None = None
    valid_until: float = 0.0
    is_lapsed: bool = False
    _kept_at: float = 0.0
    _round: int = 0
    _is_asking: bool = False
    _keep: IDelayedCall | None = None
    _patience: IDelayedCall | None = None
    _alarm: IDelayedCall | None = None

    @property
    def lost_at(self) -> float:
        """When it is taken for lost, unless it is confirmed again before."""
        return self.valid_until - self.margin_seconds

    @property
    def is_overdue(self) -> bool:
        """Whether that moment has come."""
        return self.credentials is not None and self.now() >= self.lost_at

    def check(self, life: Life) -> bool:
        """Say whether it holds; where it is overdue, all who want to know are told first."""
        if self.state != "over" and self.is_overdue:
            self.is_lapsed = True
            life.end(SessionExpired("no server has confirmed the session in time"))
        return self.state == "attached" or self.state == "adrift"

    # -- opened and taken up ----------------------------------------------------------------------
    def introduce(self, life: Life) -> None:
        """Ask the server to open it, or to take it up."""
        self._stop()
        asked_at, this_round = self.now(), self._round
        self._be_patient(CLIENT_SILENCE_SECONDS if self.credentials is None else 0.0)

        def told(outcome: Any) -> None:
            if this_round != self._round:
                return  # another server was asked meanwhile; what this one opened runs out
            self._stop()
            if isinstance(outcome, Credentials):
                life.taken_up(outcome, asked_at)
            else:
                self._refused(life, outcome, life.linked)

        self.ask(self._introduction(), told)

    def _introduction(self) -> commands.Session:
        if self.credentials is None:
            return commands.Session(timeout_ms=round(self.timeout_seconds * 1000))
        return commands.Session(resume=(self.credentials.session, self.credentials.key))

    def begin(self, life: Life, told: Credentials, asked_at: float) -> None:
        """Take note of the session: from now on it is kept."""
        self.credentials = told
        self.timeout_seconds = told.timeout_ms / 1000
        self.margin_seconds = min(self.margin_seconds, self.timeout_seconds / 2)
        self.confirm(life, asked_at)
        self._keep_later(life)

    def go_on(self, life: Life) -> None:
        """Have it confirmed: that another server knows it says nothing of how long it holds."""
        self._stop()
        self.keep(life)

    def _refused(self, life: Life, problem: CoordError, again: Callable[[], None]) -> None:
        if not isinstance(problem, Unavailable | Overloaded):
            life.end(problem)
            return
        this_round = self._round
        if isinstance(problem, Unavailable):
            self.forsake()
        if this_round == self._round and self.state != "over":
            pause = min(self.timeout_seconds / _RETRIES_PER_TIMEOUT, REDIAL_SECONDS_MAX)
            self._keep = self.clock.callLater(pause, again)

    # -- kept -------------------------------------------------------------------------------------
    def keep(self, life: Life) -> None:
        """Ask the leader, by way of the server, to confirm it."""
        if not self.check(life):
            return
        asked_at, this_round = self.now(), self._round
        self._be_patient()

        def told(outcome: Any) -> None:
            if isinstance(outcome, Credentials):
                self.confirm(life, asked_at)
            if this_round != self._round or self.state == "over":
                return
            self._stop()
            if isinstance(outcome, Credentials):
                self._keep_later(life)
                life.trusted()
            else:
                self._refused(life, outcome, lambda: self.keep(life))

        self.ask(commands.Session(keep=True), told)

    def _be_patient(self, longer_seconds: float = 0.0) -> None:
        """Leave the server if it has not answered after some time."""
        patience = self.timeout_seconds / _PATIENCES_PER_TIMEOUT + longer_seconds
        self._patience = self.clock.callLater(patience, self.forsake)

    def confirm(self, life: Life, asked_at: float) -> None:
        """Take note that it holds for its timeout from then on."""
        if self.state == "over":
            return
        until = asked_at + self.timeout_seconds * (1.0 - CLOCK_DRIFT_MAX)
        self.valid_until = max(self.valid_until, until)
        self._kept_at = max(self._kept_at, asked_at)
        if self._alarm is None:
            self._set_alarm(life)

    def _keep_later(self, life: Life) -> None:
        due = self._kept_at + self.timeout_seconds / _KEEPS_PER_TIMEOUT
        self._keep = self.clock.callLater(max(0.0, due - self.now()), self.keep, life)

    def _set_alarm(self, life: Life) -> None:
        left = max(0.0, self.lost_at - self.now())
        self._alarm = self.clock.callLater(left, self._ring, life)

    def _ring(self, life: Life) -> None:
        self._alarm = None
        if self.check(life):
            self._set_alarm(life)

    # -- left -------------------------------------------------------------------------------------
    def part(self) -> None:
        """Take note that the server is gone: nothing that it has not said yet is waited for."""
        self._round += 1
        self._stop()

    def _stop(self) -> None:
        for timer in (self._keep, self._patience):
            if timer is not None and timer.active():
                timer.cancel()
        self._keep = self._patience = None

    def finish(self, why: CoordError | None) -> None:
        """Be over, and say so."""
        self.part()
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        self.over(why)

    def enter(self, state: str) -> None:
        """Take note of the state, which is told to people."""
        self.state = state
        self.changed()


def _machine() -> Callable[[Living], Life]:
    """Return the machine of the picture above: edges first, behaviour second."""
    machine = TypeMachineBuilder(Life, Living)
    unopened = machine.state("unopened")
    attached = machine.state("attached")
    adrift = machine.state("adrift")
    over = machine.state("over")

    unopened.upon(Life.doubted).loop().returns(None)
    unopened.upon(Life.trusted).loop().returns(None)
    attached.upon(Life.linked).loop().returns(None)
    attached.upon(Life.taken_up).loop().returns(None)
    attached.upon(Life.trusted).loop().returns(None)
    for nothing in (Life.linked, Life.unlinked, Life.doubted, Life.trusted):
        over.upon(nothing).loop().returns(None)
    over.upon(Life.taken_up).loop().returns(None)
    over.upon(Life.end).loop().returns(None)

    @unopened.upon(Life.linked).loop()
    @adrift.upon(Life.linked).loop()
    def introduce(life: Life, core: Living) -> None:
        core.introduce(life)

    @unopened.upon(Life.taken_up).to(attached)
    def begin(life: Life, core: Living, told: Credentials, asked_at: float) -> None:
        core.begin(life, told, asked_at)
        core.enter("attached")

    @adrift.upon(Life.taken_up).to(attached)
    def go_on(life: Life, core: Living, told: Credentials, asked_at: float) -> None:
        core.go_on(life)
        core.enter("attached")

    @adrift.upon(Life.trusted).to(attached)
    def trust(life: Life, core: Living) -> None:
        core.enter("attached")

    @attached.upon(Life.doubted).to(adrift)
    def doubt(life: Life, core: Living) -> None:
        core.enter("adrift")
        core.forsake()

    @adrift.upon(Life.doubted).loop()
    def doubt_again(life: Life, core: Living) -> None:
        core.forsake()

    @attached.upon(Life.unlinked).to(adrift)
    def drift(life: Life, core: Living) -> None:
        core.part()
        core.enter("adrift")

    @unopened.upon(Life.unlinked).loop()
    @adrift.upon(Life.unlinked).loop()
    def part(life: Life, core: Living) -> None:
        core.part()

    @unopened.upon(Life.end).to(over)
    @attached.upon(Life.end).to(over)
    @adrift.upon(Life.end).to(over)
    def end(life: Life, core: Living, why: CoordError | None) -> None:
        core.enter("over")
        core.finish(why)

    return machine.build()


make_life = _machine()
"""Return the life of a session, unopened, that works with a `Living`."""
