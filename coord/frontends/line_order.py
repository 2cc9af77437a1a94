"""The untagged requests of one connection: what may run when, and replies in the order asked.

Neighbours that only touch the store become one *group*, handed over as one. A group starts
while earlier ones are still under way only if all of them write, which the coordinator
keeps in order, or all of them read, or all of them read locally: so the order of effects is the
order of requests. A ``local`` read never joins the others, since it is answered where they
cannot be. Everything else goes alone, when all before it was written out.

Tagged writes come in here too, where an untagged write still waits: no write passes another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from coord.commands import Read, Write
from coord.frontends.line_groups import Group, Kind
from coord.frontends.line_locks import Locking
from coord.frontends.line_slots import Page, Slot
from coord.results import Result


class InOrder:
    """Slots that wait, and slots that are under way or being written out.

    ``submit`` hands commands over, ``answered`` is called when a group was answered, ``written``
    with each slot that is out.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[Write | Read], Callable[[Sequence[Result]], None]], None],
        answered: Callable[[], None],
        written: Callable[[Slot], None],
    ) -> None:
        self._hand_over = submit
        self._answered = answered
        self._written = written
        self._waiting: deque[Slot] = deque()
        self._slots: deque[Slot] = deque()
        self._open: Group | None = None
        self._last_writes: Group | None = None
        self._unanswered = 0
        self._kind = Kind.READ

    @property
    def is_midway(self) -> bool:
        """Whether the reply being written has begun and not ended."""
        return bool(self._slots) and self._slots[0].midway

    def describe(self) -> str:
        """Return in a few words how much waits and how much is under way."""
        return f"{len(self._waiting)} waiting {len(self._slots)} under way"

    def add(self, slot: Slot) -> None:
        """Put a slot at the end; `advance` starts it."""
        self._open = None
        self._waiting.append(slot)
        if isinstance(slot, Locking) and slot.trailing is not None:
            self._last_writes = slot.trailing

    def add_command(self, kind: Kind, command: Write | Read, size_bytes: int) -> None:
        """Put a command at the end, into the last group if that takes it."""
        group = self._open
        if group is None or not group.takes(kind):
            group = self._open = Group(kind, self._settled)
            self._waiting.append(group)
        group.add(kind, command, b"", size_bytes)
        if kind is Kind.WRITE:
            self._last_writes = group

    def waiting_writes(self) -> Group | None:
        """Return the group that a tagged write must join; ``None`` where no write waits."""
        group = self._last_writes
        if group is not None and group.is_full:
            group = self._last_writes = Group(Kind.WRITE, self._settled)
            self.add(group)
        return group

    def advance(self) -> None:
        """Start what may start now."""
        waiting, slots = self._waiting, self._slots
        while waiting:
            slot = waiting[0]
            if slots and (slot.alone or slots[0].alone):
                return
            if isinstance(slot, Group):
                if self._unanswered and slot.kind is not self._kind:
                    return
                slots.append(waiting.popleft())
                self._submit(slot)
            else:
                slots.append(waiting.popleft())
                slot.start()
                if isinstance(slot, Locking) and slot.trailing is not None:
                    self._submit_trailing(slot.trailing)

    def render(self, page: Page) -> None:
        """Add the replies whose turn it is, while there is room."""
        self.advance()
        slots = self._slots
        while slots:
            if page.room <= 0:
                page.unfinished = True
                return
            slot = slots[0]
            if not slot.render(page):
                page.unfinished = page.unfinished or page.room <= 0
                return
            slots.popleft()
            self._written(slot)
            self.advance()

    def close(self) -> None:
        """Let go of everything that waits or is under way."""
        for slot in (*self._waiting, *self._slots):
            slot.close()

    def _submit(self, group: Group) -> None:
        if group is self._open:
            self._open = None
        if group is self._last_writes:
            self._last_writes = None
        self._kind = group.kind
        self._unanswered += 1
        self._hand_over(group.commands, group.settle)

    def _submit_trailing(self, group: Group) -> None:
        """Hand over tagged writes that waited for an untagged one that is begun, not answered."""
        if group is self._last_writes:
            self._last_writes = None
        if group.count:
            self._hand_over(group.commands, group.settle)

    def _settled(self, group: Group) -> None:
        self._unanswered -= 1
        self._answered()
