"""Clients with sessions: they own nodes, hold locks, write all or nothing, and ask again by id.

An owner talks to one node at a time, as a connection does. When that node crashes, or is
silent for too long, it takes its session up on another one, and sends again under its id what it
had no answer to; or it vanishes without a word, and begins anew. Now and then it stands still
for a while, as a stopped process does, and goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from coord.commands import Caller, Level, Lock, Once, OpenSession, Resume
from coord.commands import Command as AnyCommand
from coord.errors import CoordError, Denied, NoSession, SessionExpired
from coord.events import SessionEvent, Trouble
from coord.replicator.interfaces import IAttachment
from coord.results import Granted, Opened, Queued, Result, Written
from coord.simulation.cluster import Cluster, SimulatedNode
from coord.simulation.deeds import Asking, Attached, Deed, Hold, Ledger, SessionLife
from coord.simulation.errands import Errands

PATIENCE_SECONDS: Final = 4.0
THINK_SECONDS: Final = 0.08
STAND_STILL_SECONDS_MAX: Final = 3.0
TIMEOUTS_SECONDS: Final = (0.5, 0.8, 1.5, 3.0)
WRONG_KEY: Final = "not the key"


class Owner:
    """One client with one session at a time, and one command under way at a time."""

    def __init__(self, name: str, cluster: Cluster, ledger: Ledger) -> None:
        self.name = name
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice
        self._ledger = ledger
        self._errands = Errands(name, self._dice)
        self._node: SimulatedNode | None = None
        self._caller = Caller(name, "", Level.WRITE)
        self._key = ""
        self._life: SessionLife | None = None
        self._attachment: IAttachment | None = None
        self._asked: Deed | None = None
        self._again: AnyCommand | None = None
        self._holds: dict[str, Hold] = {}
        self._round = 0
        self._stopped = False
        cluster.on_crash.append(self._node_crashed)

    def start(self) -> None:
        """Begin to ask, after a while."""
        self._later(self._act)

    def stop(self) -> None:
        """Say nothing more, to anybody: all that is owned has to go by itself."""
        self._stopped = True
        self._vanish()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no answer."""
        return self._asked is None

    # -- what to do next ---------------------------------------------------------------------
    def _later(self, function: Callable[[], None], seconds: float | None = None) -> None:
        delay = self._dice.expovariate(1 / THINK_SECONDS) if seconds is None else seconds
        self._world.schedule(delay, None, function)

    def _act(self) -> None:
        if self._stopped or self._asked is not None:
            return
        node = self._node
        if node is None or not node.is_up:
            up = self._cluster.up()
            if not up:
                self._later(self._act)
                return
            self._node = self._dice.choice(up)
        if self._life is None:
            self._open()
        elif self._attachment is None:
            self._take_up()
        else:
            self._do_something()

    def _do_something(self) -> None:
        chance = self._dice.random()
        if chance < 0.02:
            self._world.count("owners that vanished")
            self._vanish()
            self._later(self._act)
        elif chance < 0.05:
            self._world.count("owners that stood still")
            self._later(self._act, self._dice.random() * STAND_STILL_SECONDS_MAX)
        elif chance < 0.25:
            self._keep()
        elif chance < 0.28:
            self._move()
        else:
            self._ask(self._again or self._errands.next(self._caller.session, self._holds))

    # -- sessions ------------------------------------------------------------------------------
    def _open(self) -> None:
        node, timeout = self._node, self._dice.choice(TIMEOUTS_SECONDS)
        assert node is not None
        self._world.schedule(0.0, node.process, self._open_there, node, timeout)
        self._round += 1
        self._world.schedule(PATIENCE_SECONDS, None, self._give_up, self._round)

    def _open_there(self, node: SimulatedNode, timeout_seconds: float) -> None:
        """Open a session; this happens inside the node's process, where the key is made."""
        if self._node is not node or self._asked is not None or self._life is not None:
            return
        opening, self._key = node.coordinator.new_session(int(timeout_seconds * 1000))
        self._caller = Caller(self.name, opening.session, Level.WRITE, opening.session)
        self._life = SessionLife(
            client=self.name,
            session=opening.session,
            timeout_seconds=timeout_seconds,
            opened_at=self._world.now,
            own=self._dice.random() < 0.2,
            keeps=[],
            last_word_at=self._world.now,
            troubles=[],
        )
        self._ask(opening)

    def _take_up(self) -> None:
        """Show the key, and now and then a wrong one."""
        key = WRONG_KEY if self._dice.random() < 0.1 else self._key
        self._ask(Resume(self._caller.session, key))

    def _attach(self, node: SimulatedNode) -> None:
        life = self._life
        assert life is not None
        told = partial(self._troubled, life, node)
        life.attached.append(Attached(node=node.name, since=self._world.now))
        self._attachment = node.coordinator.attach(life.session, told, own=life.own)

    def _move(self) -> None:
        """Turn to another node with the session that there is."""
        if self._life is not None and not self._life.own:
            self._world.count("sessions moved")
            self._leave()
        self._later(self._act)

    def _vanish(self) -> None:
        """Forget the session without a word."""
        self._leave()
        self._forget()

    def _forget(self) -> None:
        now = self._world.now
        for hold in self._holds.values():
            hold.given_up_at = hold.given_up_at or now
        self._holds = {}
        self._life = self._again = None

    def _leave(self) -> None:
        """Have nothing to do with the present node any more."""
        attachment, self._attachment = self._attachment, None
        node, self._node, self._asked = self._node, None, None
        if self._life is not None:
            self._life.leave(self._world.now)
        self._round += 1
        if attachment is not None and node is not None and node.is_up:
            self._world.schedule(0.0, node.process, attachment.detach)

    def _troubled(self, life: SessionLife, node: SimulatedNode, event: SessionEvent) -> None:
        life.troubles.append((self._world.now, node.name, event))
        self._world.count(f"sessions told {event.kind.value}")
        if event.kind is Trouble.EXPIRED and self._life is life:
            life.leave(self._world.now)
            self._attachment = None
            self._forget()

    # -- keeping -------------------------------------------------------------------------------
    def _keep(self) -> None:
        node = self._node
        assert node is not None
        assert self._life is not None
        self._life.last_word_at = self._world.now
        self._world.schedule(
            self._latency(), node.process, self._keep_there, self._life, self._world.now
        )
        self._later(self._act)

    def _keep_there(self, life: SessionLife, sent_at: float) -> None:
        if self._life is life and self._attachment is not None and self._node is not None:
            asking = Asking(node=self._node.name, asked_at=self._world.now)
            life.asked.append(asking)
            self._attachment.keep(partial(self._kept, life, sent_at, asking))

    def _kept(
        self, life: SessionLife, sent_at: float, asking: Asking, problem: CoordError | None
    ) -> None:
        asking.answered_at = self._world.now
        self._world.count("sessions not kept" if problem else "sessions kept")
        if problem is None:
            life.keeps.append(sent_at)

    def _latency(self) -> float:
        return self._dice.random() * 0.001

    # -- asking --------------------------------------------------------------------------------
    def _ask(self, command: AnyCommand) -> None:
        node, life = self._node, self._life
        assert node is not None
        assert life is not None
        self._again = None
        self._round += 1
        if isinstance(command, OpenSession):
            life.opened_at = self._world.now
        life.last_word_at = self._world.now
        self._asked = deed = self._deed(node, command)
        deeds = [deed]
        if isinstance(command, OpenSession) and self._dice.random() < 0.5:
            # As front ends do where a connection first needs a session.
            deeds.append(self._deed(node, self._errands.next(life.session, {})))
        self._give_up_holds(deed)
        self._world.schedule(self._latency(), node.process, self._submit, node, deeds)
        self._world.schedule(PATIENCE_SECONDS, None, self._give_up, self._round)

    def _deed(self, node: SimulatedNode, command: AnyCommand) -> Deed:
        deed = Deed(
            client=self.name,
            caller=self._caller,
            node=node.name,
            command=command,
            asked=self._world.moment(),
            asked_at=self._world.now,
        )
        self._ledger.deeds.append(deed)
        if self._errands.ends(command) and self._life is not None:
            self._life.ended_at = self._world.now
        return deed

    def _give_up_holds(self, deed: Deed) -> None:
        """Believe no more in what is given up by a request, from when it is sent."""
        for path in self._errands.gives_up(deed.write, self._holds):
            self._holds.pop(path).given_up_at = self._world.now

    def _submit(self, node: SimulatedNode, deeds: list[Deed]) -> None:
        """Hand commands over; this happens inside the node's process."""
        if self._asked is not deeds[0]:
            return
        if self._attachment is not None:
            self._attachment.touch()
        commands: list[Any] = [deed.command for deed in deeds]
        answer = partial(self._answered, node, deeds)
        node.coordinator.submit(commands, answer, deeds[0].caller)

    def _answered(self, node: SimulatedNode, deeds: list[Deed], results: Sequence[Result]) -> None:
        if self._asked is not deeds[0]:
            return
        self._asked = None
        moment = self._world.moment()
        for deed, result in zip(deeds, results, strict=True):
            deed.told, deed.told_at = moment, self._world.now
            deed.outcome = self._errands.taken(result)
            self._world.count(_outcome(result))
            self._world.note(repr(deed.outcome).encode())
        for deed, result in zip(deeds, results, strict=True):
            if self._life is not None:
                self._take(node, deed, result)
        self._later(self._act)

    def _take(self, node: SimulatedNode, deed: Deed, result: Result) -> None:
        match result:
            case Opened():
                self._opened(node, deed)
            case Granted() if isinstance(deed.write, Lock):
                self._granted(deed, result.token)
            case Queued() if isinstance(deed.write, Lock):
                self._wait(node, deed)
            case SessionExpired() | NoSession():
                self._over()
            case Denied() if isinstance(deed.command, Resume):
                self._world.count("wrong keys refused")
            case CoordError() if deed.is_open or deed.is_refused:
                self._not_done(deed)
            case Written() if self._errands.ends(deed.command):
                self._world.count("sessions ended")
                self._over()
            case _:
                pass

    def _opened(self, node: SimulatedNode, deed: Deed) -> None:
        self._ledger.lives[deed.session] = self._life  # type: ignore[assignment]
        self._world.count("sessions taken up" if isinstance(deed.command, Resume) else "sessions")
        self._attach(node)

    def _over(self) -> None:
        self._leave()
        self._forget()

    def _not_done(self, deed: Deed) -> None:
        if isinstance(deed.command, OpenSession):
            self._over()
        elif isinstance(deed.command, Once):
            self._again = deed.command

    # -- locks ---------------------------------------------------------------------------------
    def _granted(self, deed: Deed, token: int) -> None:
        lock = deed.write
        assert isinstance(lock, Lock)
        known = self._holds.get(lock.path)
        if known is not None and known.token == token:
            return
        self._holds[lock.path] = hold = Hold(
            client=self.name,
            session=deed.session,
            path=lock.path,
            shared=lock.shared,
            token=token,
            told_at=self._world.now,
        )
        self._ledger.holds.append(hold)

    def _wait(self, node: SimulatedNode, deed: Deed) -> None:
        lock = deed.write
        assert isinstance(lock, Lock)
        self._world.count("places in queues")
        told = partial(self._waited, node, deed)
        node.coordinator.await_lock(lock.path, deed.session, told)

    def _waited(self, node: SimulatedNode, deed: Deed, result: Granted | CoordError) -> None:
        if self._node is not node or self._caller.session != deed.session:
            return
        self._ledger.waits.append((deed, self._world.now, result))
        self._world.count(f"waits {_outcome(result)}")
        if isinstance(result, Granted) and self._life is not None:
            self._granted(deed, result.token)
            if self._asked is not None:  # which may give it up, and is on its way
                self._give_up_holds(self._asked)

    # -- losses --------------------------------------------------------------------------------
    def _give_up(self, number: int) -> None:
        if number == self._round and not self._stopped:
            self._world.count("owners that gave up")
            self._lose()

    def _node_crashed(self, name: str) -> None:
        if self._node is not None and self._node.name == name and not self._stopped:
            self._attachment = None
            self._lose()

    def _lose(self) -> None:
        """Turn to another node, or vanish; what has an id is asked again."""
        deed = self._asked
        was_opening = deed is not None and isinstance(deed.command, OpenSession)
        if deed is not None and isinstance(deed.command, Once):
            self._again = deed.command
        self._leave()
        if was_opening or self._dice.random() < 0.2:
            self._forget()
        self._later(self._act)


def _outcome(result: object) -> str:
    code = getattr(result, "code", "")
    return f"answers {code}" if code else "answers OK"
