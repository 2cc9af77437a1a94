"""``coord-backup dump``: one picture of a running cluster into a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from coord.errors import TooLate
from coord.tools.backup_files import Refused, Sink, stamp
from coord.tools.backup_stream import Picture
from coord.tools.progress import Progress
from coord.tools.reach import Reach
from coord.wire.backup import NOTHING_LEFT_OUT, Content, Header, LeftOut, Writer

ATTEMPTS: Final = 3
ROWS_PER_SECOND: Final = 40_000
"""How fast rows are taken at first: the cluster has others to serve. Not slower, for a node gives a
picture up after a million revisions and its history: a million nodes must be done by then."""


class Dump:
    """One dump of a cluster. ``rev``, ``nodes`` and ``name`` tell what it became.

    :param reactor: the real one.
    :param note: is told, in a line, what a person may want to know.
    :param reach_seconds: as in `Picture`.
    """

    def __init__(
        self,
        reactor: Any,
        reach: Reach,
        progress: Progress,
        note: Callable[[str], None],
        *,
        rows_per_second: float | None = ROWS_PER_SECOND,
        reach_seconds: float | None = None,
    ) -> None:
        self._reactor = reactor
        self._reach = reach
        self._progress = progress
        self._note = note
        self._rows_per_second = rows_per_second
        self._reach_seconds = reach_seconds
        self.picture = self._new_picture()
        self.nodes = 0
        self.left_out = NOTHING_LEFT_OUT
        self.name = ""
        self.is_done = False
        self._head = b""
        self._writer: Writer | None = None

    def _new_picture(self) -> Picture:
        return Picture(
            self._reactor,
            self._reach,
            rows_per_second=self._rows_per_second,
            reach_seconds=self._reach_seconds,
        )

    async def open(self) -> Header:
        """Find a node, fix the revision, and return what the first line will say."""
        await self.picture.open()
        header = Header(
            content=Content.DUMP,
            rev=self.picture.rev,
            cluster=self.picture.cluster,
            time=stamp(self._reactor.seconds()),
        )
        if not self.picture.is_whole:
            self._note(
                "the cluster has rules of access: unless we may do all, as on the machine of a node"
                " without secrets, what they hide is not in the dump; show an admin's secret"
            )
        self._writer = Writer(header)
        self._head = self._writer.head()
        self.name = self._writer.name
        self._progress.whole = self.picture.nodes
        return header

    async def write(self, sink: Sink) -> None:
        """Write the file, after `open`. The sink is finished, or abandoned where it fails.

        :raises TooLate: where the node was lost and the picture with it.
        :raises coord.client.errors.NoServer: where nobody answered for a minute.
        """
        writer = self._writer
        assert writer is not None, "open first"
        try:
            sink.write(self._head)
            async for rows in self.picture.rows():
                sink.write(b"".join(map(writer.node, rows)))
                self._progress.add(len(rows))
            self.left_out = self.picture.left_out
            sink.write(writer.end(self.left_out))
            self.nodes = writer.lines
            sink.finish()
            self.is_done = True
        finally:
            self.picture.close()
            self._progress.close()

    async def run(self, sink: Sink) -> None:
        """Open and write; begin again, without pauses, where the picture was lost.

        :raises Refused: where that happens time and again, or cannot be begun again.
        """
        for _ in range(ATTEMPTS):
            await self.open()
            try:
                await self.write(sink)
                return
            except TooLate as error:
                if not sink.restart():
                    raise Refused(
                        f"the picture was lost on the way: {error.text}; dump into a file"
                    ) from None
                self._note(f"the picture of revision {self.picture.rev} was lost, begin again")
                self._progress.restart()
                self._rows_per_second = None
                self._reach_seconds = None
                self.picture = self._new_picture()
        raise Refused(f"the picture was lost {ATTEMPTS} times: the nodes keep too little history")


def left_out_words(left_out: LeftOut) -> str:
    """Return what a person is told of what goes with a session; nothing where there was none."""
    counts = {"ephemeral node": left_out.ephemeral, "lock": left_out.locks}
    words = [f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
    if left_out.sessions:
        words.append(f"{left_out.sessions:,} session{'s' * (left_out.sessions != 1)}")
    return f"; left out: {', '.join(words)}" if words else ""
