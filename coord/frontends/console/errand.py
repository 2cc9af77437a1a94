"""What a script asks for: ``ssh HOST status``, or lines of words on standard input.

No prompt, no colour, no greeting; what failed is said on standard error, and the exit status
tells how the last word went: 0 done, 1 not done, 2 not understood, 130 ended by Ctrl-C.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from coord.frontends.console.colours import clean
from coord.frontends.console.outputs import DONE, MISUSED
from coord.frontends.console.stage import Stage
from coord.frontends.console.words import Words

LINES_MAX: Final = 1000
LINE_BYTES_MAX: Final = 64 * 1024


class Errand:
    """Words done one after the other. ``write`` takes bytes for output, or for errors.

    ``ended`` is called with the exit status once all is done.
    """

    def __init__(
        self,
        clock: IReactorTime,
        words: Words,
        *,
        write: Callable[[bytes, bool], None],
        ended: Callable[[int], None],
        log: Callable[[str], None],
        line_end: str = "\n",
    ) -> None:
        self._words = words
        self._write = write
        self._ended = ended
        self._log = log
        self._line_end = line_end
        self._lines: deque[str] = deque()
        self._unread = b""
        self._is_input_over = True
        self._is_busy = False
        self._is_going = False
        self._is_over = False
        self._status = DONE
        self.stage = Stage(clock, self._say, self._done)

    def run(self, line: str) -> None:
        """Do one word, then end."""
        self._lines.append(line)
        self._go_on()

    def listen(self) -> None:
        """Do the lines that are to come, until there are no more."""
        self._is_input_over = False

    def received(self, data: bytes) -> None:
        """Take a piece of input; where a word alone was asked for it is not wanted."""
        if self._is_input_over:
            if b"\x03" in data:
                self.interrupt()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._lines.extend(line.decode("utf-8", "replace") for line in lines)
        if len(self._unread) > LINE_BYTES_MAX or len(self._lines) > LINES_MAX:
            self.close()
            self._lines.clear()
            self._write(f"this is too much input{self._line_end}".encode(), True)
            self._is_input_over, self._status, self._is_busy = True, MISUSED, False
        self._go_on()

    def input_ended(self) -> None:
        """Take note that no more lines come."""
        if not self._is_input_over:
            self._is_input_over = True
            self._lines.append(self._unread.decode("utf-8", "replace"))
            self._unread = b""
            self._go_on()

    def interrupt(self) -> None:
        """End the word under way, as Ctrl-C does."""
        self.stage.interrupt()

    def close(self) -> None:
        """End what is under way without a word: nobody listens."""
        self.stage.close()

    def _go_on(self) -> None:
        if self._is_going or self._is_over:
            return
        self._is_going = True
        while self._lines and not self._is_busy:
            line = self._lines.popleft().strip()
            if line:
                self._is_busy = True
                self._log(line)
                self.stage.show(self._words.say(line))
        self._is_going = False
        if self._is_input_over and not self._is_busy:
            self._is_over = True
            self._ended(self._status)

    def _say(self, lines: Sequence[str], is_failure: bool) -> None:
        text = "".join(f"{clean(line)}{self._line_end}" for line in lines)
        self._write(text.encode(), is_failure)

    def _done(self, status: int) -> None:
        self._status = status
        self._is_busy = False
        self._go_on()
