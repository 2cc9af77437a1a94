"""What a person types at: a line editor over one SSH session, the words, and Python if allowed.

The editor is conch's, with its habits changed that would disturb: it does not clear the
screen, not at the start, not at the end and not when the window changes; it leaves the terminal
in the mode in which it was; and it takes letters of every language.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.recvline import HistoricRecvLine
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from coord.frontends.console.colours import clean
from coord.frontends.console.outputs import Answer, Later, Output, Question, Stream
from coord.frontends.console.python import Interpreter
from coord.frontends.console.speech import is_plain
from coord.frontends.console.stage import Stage
from coord.frontends.console.words import Word, Words

LINE_LETTERS_MAX: Final = 16 * 1024
HISTORY_LINES_MAX: Final = 500
_CTRL: Final = {name: bytes((ord(name) - ord("@"),)) for name in "ACDEKLU"}
_TYPED_PATH: Final = re.compile(r"(?:.*[\s('\"]|)(/[^\s'\"]*)\Z", re.DOTALL)
_TYPED_NAME: Final = re.compile(r".*?([A-Za-z_][\w.]*)\Z", re.DOTALL)


class Terminal(ServerProtocol):
    """The terminal at the far end; it is left as it was found."""

    transport: Any

    def loseConnection(self) -> None:
        """Close the session."""
        self.transport.loseConnection()


class Prompt(HistoricRecvLine):
    """One person's session.

    ``namespace`` is what Python sees, None where the visitor has the words alone; ``log`` takes
    each line for the node's log; ``paint`` makes a clean line ready for the terminal.
    """

    terminal: Any

    def __init__(
        self,
        clock: IReactorTime,
        words: Words,
        namespace: dict[str, Any] | None,
        *,
        log: Callable[[str], None],
        paint: Callable[[str], str],
        name: str,
    ) -> None:
        HistoricRecvLine.__init__(self)
        self.ps = (f"{name}> ".encode(), b"... ")
        self.stage = Stage(clock, self._say, self._ended, self._ask)
        self._words = words
        self._tell_log = log
        self._paint = paint
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_closed = False
        self._waiting: Output | None = None
        self._interpreter = (
            None if namespace is None else Interpreter(self, {**namespace, **words.all})
        )

    # -- life -------------------------------------------------------------------------------
    def connectionMade(self) -> None:
        """Greet."""
        HistoricRecvLine.connectionMade(self)
        self.keyHandlers |= {
            _CTRL["A"]: self.handle_HOME,
            _CTRL["C"]: self.handle_INT,
            _CTRL["D"]: self.handle_EOF,
            _CTRL["E"]: self.handle_END,
            _CTRL["K"]: self.handle_KILL,
            _CTRL["L"]: self.handle_CLEAR,
            _CTRL["U"]: self.handle_ERASE,
            b"\x08": self.handle_BACKSPACE,
        }

    def initializeScreen(self) -> None:
        """Say what one can do."""
        self.setInsertMode()
        self._say(self._words.greeting(), False)
        self.drawInputLine()

    def setInsertMode(self) -> None:
        """Insert what is typed; the editor alone knows, not the terminal."""
        self.mode = "insert"

    def setTypeoverMode(self) -> None:
        """Type over what is there."""
        self.mode = "typeover"

    def terminalSize(self, width: int, height: int) -> None:
        """Take note of the window; what is on the screen stays."""
        self.width, self.height = max(width, 1), max(height, 1)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End what is under way: nobody looks."""
        self._is_closed = True
        self.stage.close()

    def leave(self) -> None:
        """End the session."""
        if not self._is_closed:
            self._is_closed = True
            self.stage.close()
            self.terminal.loseConnection()

    # -- keys -------------------------------------------------------------------------------
    def keystrokeReceived(self, keyID: bytes, modifier: object) -> None:
        """Take a key; while lines stream, only those that end it."""
        if self._is_closed:
            return
        if self.stage.is_streaming and keyID not in (_CTRL["C"], _CTRL["D"]):
            return
        act = self.keyHandlers.get(keyID)
        if act is not None:
            act()
            return
        letter = self._letters.decode(keyID) if len(keyID) == 1 else ""
        if letter and letter.isprintable():
            self.characterReceived(letter.encode(), False)

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:
        """Put a letter into the line."""
        if len(self.lineBuffer) >= LINE_LETTERS_MAX:
            self.terminal.write(b"\a")
            return
        if self.mode == "insert":
            self.lineBuffer.insert(self.lineBufferIndex, ch)
        else:
            self.lineBuffer[self.lineBufferIndex : self.lineBufferIndex + 1] = [ch]
        self.lineBufferIndex += 1
        rest = self.lineBuffer[self.lineBufferIndex :]
        self.terminal.write(ch + b"".join(rest))
        if rest:
            self.terminal.cursorBackward(len(rest))

    def handle_INT(self) -> None:
        """Ctrl-C: end what is under way, or begin the line anew."""
        self.terminal.write(b"^C\n")
        self._forget_line()
        if self._interpreter is not None:
            self._interpreter.resetBuffer()
        if not self.stage.interrupt():
            self.drawInputLine()

    def handle_EOF(self) -> None:
        """Ctrl-D: leave, unless a line is being typed."""
        if self.lineBuffer:
            self.terminal.write(b"\a")
        else:
            self.terminal.write(b"\n")
            self.leave()

    def handle_CLEAR(self) -> None:
        """Ctrl-L: clear the screen."""
        self.terminal.eraseDisplay()
        self.terminal.cursorHome()
        self._redraw()

    def handle_KILL(self) -> None:
        """Ctrl-K: drop the rest of the line."""
        del self.lineBuffer[self.lineBufferIndex :]
        self.terminal.eraseToLineEnd()

    def handle_ERASE(self) -> None:
        """Ctrl-U: drop what is before the cursor."""
        del self.lineBuffer[: self.lineBufferIndex]
        self.lineBufferIndex = 0
        self._redraw(back=len(self.lineBuffer))

    def handle_TAB(self) -> None:
        """Complete a word, a name or a path; show what there is where more than one fits."""
        typed = b"".join(self.lineBuffer[: self.lineBufferIndex]).decode()
        start, found = self._completions(typed)
        ending = _shared_start(found)[len(start) :]
        for letter in ending:
            self.characterReceived(letter.encode(), False)
        if not ending and len(found) > 1:
            self.terminal.write(b"\n")
            self._say(_columns([clean(one) for one in found], self.width), False)
            self._redraw(back=len(self.lineBuffer) - self.lineBufferIndex)

    def handle_RETURN(self) -> None:
        """Take the line."""
        if len(self.historyLines) > HISTORY_LINES_MAX:
            del self.historyLines[0]
        HistoricRecvLine.handle_RETURN(self)

    # -- lines ------------------------------------------------------------------------------
    def lineReceived(self, line: bytes) -> None:
        """Do what a line says."""
        text = line.decode()
        if self.stage.is_asking:
            self._tell_log(f"answers {text}")
            self.stage.answer(text)
            return
        if text.strip():
            self._tell_log(text)
        self._waiting = None
        if self._interpreter is None:
            self._waiting = self._said(text.strip())
        elif is_plain(text, self._words.all) and not self._interpreter.buffer:
            self._waiting = self._words.say(text)
        else:
            self.pn = int(bool(self._interpreter.push(line)))
        self._after_line()

    def _said(self, text: str) -> Output | None:
        """Return what comes of a line of someone who has the words alone."""
        if text in ("exit", "quit", "exit()", "quit()"):
            self.leave()
        if not text or self._is_closed:
            return None
        return self._words.say(text)

    def _after_line(self) -> None:
        waiting, self._waiting = self._waiting, None
        if self._is_closed:
            return
        if waiting is not None:
            self.stage.show(waiting)
        else:
            self._fresh_line()
            self.drawInputLine()

    # -- what the stage and the interpreter say ---------------------------------------------------
    def display(self, value: object) -> bool:
        """Show what a word gave; the last question or stream of a line waits for its end."""
        if isinstance(value, Word):
            value = value()
        if isinstance(value, Answer):
            self._fresh_line()
            self._say(value.lines, value.status != 0)
            return True
        if isinstance(value, Question | Stream | Later):
            self._waiting = value
            return True
        return False

    def addOutput(self, data: str, isAsync: bool | None = None) -> None:
        """Show a text of Python's; an asynchronous one comes while something is typed."""
        if self._is_closed:
            return
        if isAsync and not self.stage.is_streaming:
            self.terminal.write(b"\r")
            self.terminal.eraseLine()
        lines = data.replace("\r\n", "\n").split("\n")
        self.terminal.write("\n".join(clean(line) for line in lines))
        if isAsync:
            self._fresh_line()
            if not self.stage.is_streaming:
                self._redraw(back=len(self.lineBuffer) - self.lineBufferIndex)

    def _say(self, lines: Sequence[str], is_failure: bool) -> None:
        painted = [self._paint(clean(line)) for line in lines]
        self.terminal.write("".join(f"{line}\n" for line in painted))

    def _ask(self, text: str) -> None:
        self._fresh_line()
        self.terminal.write(clean(text))

    def _ended(self, status: int) -> None:
        if not self._is_closed:
            self._fresh_line()
            self.drawInputLine()

    # -- the line on the screen --------------------------------------------------------------
    def _fresh_line(self) -> None:
        if not self.terminal.lastWrite.endswith(b"\n"):
            self.terminal.write(b"\n")

    def _redraw(self, back: int = 0) -> None:
        self.terminal.write(b"\r")
        self.terminal.eraseLine()
        self.drawInputLine()
        if back:
            self.terminal.cursorBackward(back)

    def _forget_line(self) -> None:
        self.lineBuffer, self.lineBufferIndex, self.pn = [], 0, 0

    # -- completion ----------------------------------------------------------------------------
    def _completions(self, typed: str) -> tuple[str, list[str]]:
        """Return what is being typed, and what it may become."""
        path = _TYPED_PATH.match(typed)
        if path is not None:
            start = path[1]
            above = start.rpartition("/")[0] or "/"
            return start, [one for one in self._words.children(above) if one.startswith(start)]
        name = _TYPED_NAME.match(typed)
        start = name[1] if name is not None else ""
        return start, [one for one in self._names(start) if one.startswith(start)]

    def _names(self, start: str) -> list[str]:
        if self._interpreter is None or not start:
            return sorted(self._words.all)
        first, *between = start.split(".")[:-1] or [""]
        if not first:
            return sorted(one for one in self._interpreter.locals if not one.startswith("_"))
        value: object = self._interpreter.locals.get(first)
        for part in between:
            value = vars(value).get(part) if hasattr(value, "__dict__") else None
        stem = start.rpartition(".")[0]
        return [f"{stem}.{one}" for one in dir(value) if not one.startswith("_")]


def _shared_start(texts: Sequence[str]) -> str:
    """Return what all texts begin with."""
    if not texts:
        return ""
    least, most = min(texts), max(texts)
    for index, letter in enumerate(least):
        if most[index : index + 1] != letter:
            return least[:index]
    return least


def _columns(texts: Sequence[str], width: int) -> list[str]:
    """Return texts side by side, as many as fit into a window."""
    room = max(map(len, texts)) + 2
    count = max(1, width // room)
    rows = [texts[start : start + count] for start in range(0, len(texts), count)]
    return ["".join(f"{one:<{room}}" for one in row).rstrip() for row in rows]
