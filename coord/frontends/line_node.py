"""What a node tells of itself and its cluster: at once, but for a change of who its members are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from coord import commands
from coord.errors import CoordError, UnknownVerb
from coord.frontends import line_help
from coord.frontends.line_session import Standing
from coord.frontends.line_slots import Asked, Ready, Slot
from coord.replicator.interfaces import ICoordinator
from coord.results import Items, Result
from coord.wire import line_reply


class NodeItself:
    """The replies to ``PING``, ``HELP``, ``REV``, ``STATUS``, ``MEMBERS`` and ``MEMBER``."""

    def __init__(self, coordinator: ICoordinator, standing: Standing) -> None:
        self._coordinator = coordinator
        self._standing = standing

    def slot(self, tag: bytes, request: commands.Command) -> Slot:
        """Return the place of the reply."""
        match request:
            case commands.Ping():
                return Asked(tag, lambda: [line_reply.OK], alone=False)
            case commands.Rev():
                return Asked(tag, lambda: self._look(self._rev), alone=False)
            case commands.Status():
                return Asked(tag, lambda: self._look(self._status))
            case commands.Members():
                return Asked(tag, lambda: self._look(self._members))
            case commands.Help():
                return Asked(tag, lambda: self._teach(request))
        return Ready(tag + line_reply.error(UnknownVerb("not in this version yet")))

    def change_members(self, change: commands.ChangeMembers, tell: Callable[..., None]) -> None:
        """Do what ``MEMBER`` asks, or have it planned; ``tell`` gets the lines of the reply."""
        self._coordinator.change_members(change, partial(_changed, tell), self._standing.caller)

    def _look(self, ask: Callable[[], Sequence[bytes]]) -> Sequence[bytes]:
        """Return what ``ask`` tells to those who may know anything of this node."""
        refusal = self._standing.refusal()
        return ask() if refusal is None else [line_reply.error(refusal)]

    def _rev(self) -> Sequence[bytes]:
        return [b"OK %d\n" % self._coordinator.rev]

    def _status(self) -> Sequence[bytes]:
        return line_reply.table(self._coordinator.status())

    def _members(self) -> Sequence[bytes]:
        return line_reply.table(self._coordinator.members())

    def _teach(self, request: commands.Help) -> Sequence[bytes]:
        try:
            lines = line_help.lesson(request.verb)
        except CoordError as error:
            return [line_reply.error(error)]
        return [*map(line_reply.lesson, lines), line_reply.end(self._coordinator.rev)]


def _changed(tell: Callable[..., None], result: Result) -> None:
    if isinstance(result, Items):
        tell(*line_reply.table(result))
    else:
        tell(line_reply.reply(result))  # type: ignore[arg-type]
