"""What goes on between a node and the others, told line by line to whoever asks.

Where nobody asks, all of it costs one look at a flag. A trace that is not read loses
lines and says how many: it never holds the node up, and never grows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from twisted.logger import Logger

from coord.paxos.describing import describe_message
from coord.paxos.durable import describe_value
from coord.paxos.effects import Effects
from coord.paxos.messages import Beat, BeatAnswer
from coord.wire.peer import (
    Digests,
    Forward,
    ImageMessage,
    MembersMessage,
    NoImage,
    PeerMessage,
    Renew,
    Renewed,
)

_LOG: Final = Logger()

TRACE_LINES_MAX: Final = 1000
"""Lines kept for one trace that is not read."""


class Trace:
    """The lines of one who asked; ``wake`` is called when there is something to take.

    ``wake`` may be called in the midst of a change: it must do no more than take note.
    With ``beats`` the leader's beats and their answers are told, too.
    """

    def __init__(self, traces: Traces, wake: Callable[[], None], beats: bool) -> None:
        self.beats = beats
        self._traces = traces
        self._wake = wake
        self._lines: deque[str] = deque()
        self._lost = 0

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._lines)

    def take(self, limit: int) -> list[str]:
        """Return the next lines, ``limit`` and one at most."""
        taken = [self._lines.popleft() for _ in range(min(limit, len(self._lines)))]
        if not self._lines and self._lost:
            taken.append(f"... {self._lost} lines are left out: they came too fast")
            self._lost = 0
        return taken

    def add(self, line: str) -> None:
        """Keep a line, or count it among the lost."""
        if self._lost or len(self._lines) >= TRACE_LINES_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        if len(self._lines) == 1:
            self._wake()

    def close(self) -> None:
        """Want nothing more; safe to call more than once."""
        self._traces.forget(self)
        self._lines.clear()
        self._lost = 0


class Traces:
    """All traces of one node. ``is_on`` says whether there is any."""

    def __init__(self, node: str, uptime: Callable[[], float]) -> None:
        self.is_on = False
        self._node = node
        self._uptime = uptime
        self._all: dict[Trace, None] = {}

    def open(self, wake: Callable[[], None], *, beats: bool = False) -> Trace:
        """Begin a trace."""
        trace = Trace(self, wake, beats)
        self._all[trace] = None
        self.is_on = True
        return trace

    def forget(self, trace: Trace) -> None:
        """End a trace; `Trace.close` calls this."""
        self._all.pop(trace, None)
        self.is_on = bool(self._all)

    def received(self, sender: str, message: PeerMessage) -> None:
        """Tell of a message that came."""
        with self._safely():
            self._told(f"{sender} -> {self._node}", message)

    def sent(self, to: str, message: PeerMessage) -> None:
        """Tell of a message that is no part of what the core wants."""
        with self._safely():
            self._told(f"{self._node} -> {to}", message)

    def obeyed(self, effects: Effects) -> None:
        """Tell what the core wants done."""
        with self._safely():
            for envelope in effects.send:
                self._told(f"{self._node} -> {','.join(envelope.to)}", envelope.message)
            if effects.save is not None:
                header, votes = effects.save.header, effects.save.votes
                slots = f" votes in {votes[0].slot}..{votes[-1].slot}" if votes else ""
                promised = header.promised.describe()
                self.note(f"{self._node} saves promised={promised} chosen={header.chosen}{slots}")
            for chosen in effects.chosen:
                self.note(f"{self._node} takes slot {chosen.slot}: {describe_value(chosen.value)}")

    def note(self, text: str, *, is_beat: bool = False) -> None:
        """Tell a line to all who want it."""
        if self._all:
            line = f"+{self._uptime():.3f} {text}"
            for trace in self._all:
                if trace.beats or not is_beat:
                    trace.add(line)

    def _told(self, way: str, message: PeerMessage) -> None:
        if isinstance(message, Forward):
            self.note(f"{way} Forward of {len(message.batches)} batches")
        elif isinstance(message, Digests):
            slots = " ".join(str(slot) for slot, _ in (*message.chained, *message.surveyed))
            self.note(f"{way} Digests of slots {slots}", is_beat=True)
        elif isinstance(message, ImageMessage):
            self.note(f"{way} {_describe_image(message)}")
        elif isinstance(message, MembersMessage):
            self.note(f"{way} {type(message).__name__} {message.number}")
        elif isinstance(message, Renew | Renewed):
            of = f" of {len(message.sessions)} sessions" if isinstance(message, Renew) else ""
            self.note(f"{way} {type(message).__name__} {message.number}{of}", is_beat=True)
        else:
            is_beat = isinstance(message, Beat | BeatAnswer)
            self.note(f"{way} {describe_message(message)}", is_beat=is_beat)

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """End all traces rather than have a bug in one of them stop the node."""
        try:
            yield
        except Exception:
            _LOG.failure("a bug ended all traces")
            self._all.clear()
            self.is_on = False


def _describe_image(message: ImageMessage) -> str:
    """Return a message about an image in a few words."""
    piece = "" if isinstance(message, NoImage) else f" piece {message.piece}"
    return f"{type(message).__name__} {message.number}{piece}"
