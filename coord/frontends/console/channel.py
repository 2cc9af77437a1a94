"""One session of one visitor: what the client asks of it, and which of our faces it gets.

A client asks for a terminal (or not), then for a shell or a command. A shell on a terminal is
the prompt; a shell without one reads words from its input; a command is one word.

What a client does not read is not taken from a watch: the window that it grants, and the
connection beneath, say when to pause.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.connection import EXTENDED_DATA_STDERR
from twisted.conch.ssh.session import parseRequest_pty_req, parseRequest_window_change
from twisted.logger import Logger

from coord.frontends.console.colours import paint, plain
from coord.frontends.console.errand import Errand
from coord.frontends.console.prompt import Prompt, Terminal
from coord.frontends.console.stage import Stage
from coord.frontends.console.visitor import QUIET, Visitor

BUFFERED_BYTES_MAX: Final = 1 << 20
_NO_COLOUR: Final = ("", "dumb")


class Face(Protocol):
    """What a session shows its client."""

    stage: Stage

    def received(self, data: bytes) -> None:
        """Take what the client sent."""

    def input_ended(self) -> None:
        """Take note that nothing more will be sent."""

    def interrupt(self) -> None:
        """End what is under way."""

    def close(self) -> None:
        """Let go of everything: the client is gone."""


class Session(SSHChannel):
    """One session; ``avatar`` is the `Visitor`'s connection."""

    name = b"session"
    conn: Any
    _log = QUIET
    _LOG = Logger()

    def __init__(self, *given: Any, **named: Any) -> None:
        SSHChannel.__init__(self, *given, **named)
        self._terminal: str | None = None
        self._size = (80, 24)
        self._face: Face | None = None
        self._early = b""
        self._may_colour = True
        self._is_paused = False

    @property
    def visitor(self) -> Visitor:
        """Who is here."""
        visitor: Visitor = self.avatar.visitor  # type: ignore[union-attr]
        return visitor

    # -- what a client asks ------------------------------------------------------------------
    def request_pty_req(self, data: bytes) -> bool:
        """Take note of the client's terminal."""
        kind, window, _ = parseRequest_pty_req(data)
        self._terminal = kind.decode("ascii", "replace")
        self._size = (window[1], window[0])
        return True

    def request_env(self, data: bytes) -> bool:
        """Take note of a wish to have no colour; nothing else of the client's matters here."""
        name, value, _ = getNS(data, 2)
        if name == b"NO_COLOR" and value:
            self._may_colour = False
            return True
        return False

    def request_window_change(self, data: bytes) -> bool:
        """Take note of the window's new size."""
        rows, columns, *_ = parseRequest_window_change(data)
        self._size = (columns, rows)
        if isinstance(self._face, PromptFace):
            self._face.prompt.terminalSize(columns, rows)
        return True

    def request_signal(self, data: bytes) -> bool:
        """Do what a signal asks: INT is Ctrl-C, any other is the end."""
        signal = getNS(data)[0]
        if self._face is not None:
            if signal == b"INT":
                self._face.interrupt()
            else:
                self.loseConnection()
        return True

    def request_shell(self, data: bytes) -> bool:
        """Give the prompt; without a terminal, do the words that come."""
        if self._face is not None:
            return False
        self._say("opens a shell")
        if self._terminal is None:
            errand = self._errand()
            errand.listen()
            self._begin(errand)
        else:
            self._begin(PromptFace(self))
        return True

    def request_exec(self, data: bytes) -> bool:
        """Do one word."""
        if self._face is not None:
            return False
        errand = self._errand()
        self._begin(errand)
        # the client wants to hear first that its request was taken
        self.visitor.clock.callLater(0, self._run, errand, getNS(data)[0])
        return True

    def _run(self, errand: Errand, line: bytes) -> None:
        if not self.localClosed:
            errand.run(line.decode("utf-8", "replace"))

    # -- faces -----------------------------------------------------------------------------
    def _begin(self, face: Face) -> None:
        self._face = face
        early, self._early = self._early, b""
        if early:
            face.received(early)

    def _errand(self) -> Errand:
        return Errand(
            self.visitor.clock,
            self.visitor.words(),
            write=self._write_errand,
            ended=self._ended,
            log=self._say,
            line_end="\n" if self._terminal is None else "\r\n",
        )

    def _write_errand(self, data: bytes, is_failure: bool) -> None:
        if is_failure and self._terminal is None:
            self.writeExtended(EXTENDED_DATA_STDERR, data)
        else:
            self.write(data)

    def _ended(self, status: int) -> None:
        if not self.localClosed:
            self.conn.sendRequest(self, b"exit-status", struct.pack(">L", status))
            self.loseConnection()

    def make_prompt(self) -> Prompt:
        """Return the editor for a person at this session's terminal."""
        visitor = self.visitor
        has_colour = self._may_colour and self._terminal not in _NO_COLOUR
        prompt = Prompt(
            visitor.clock,
            visitor.words(),
            visitor.namespace() if visitor.is_operator else None,
            log=self._say,
            paint=paint if has_colour else plain,
            name=visitor.node,
        )
        prompt.terminalSize(*self._size)
        return prompt

    def leave(self) -> None:
        """End the session as one that went well."""
        self._ended(0)

    def _say(self, what: str) -> None:
        self.visitor.say(what)

    # -- what comes and goes ------------------------------------------------------------------
    def dataReceived(self, data: bytes) -> None:
        """Hand on what the client sent; a bug in what follows ends this session alone."""
        if self._face is None:
            self._early = (self._early + data)[:BUFFERED_BYTES_MAX]
            return
        try:
            self._face.received(data)
        except Exception:
            self._LOG.failure("console: a bug ended a session of {who}", who=self.visitor.who)
            self._discard()
            self.loseConnection()

    def eofReceived(self) -> None:
        """Take note that the client sends nothing more."""
        if self._face is not None:
            self._face.input_ended()

    def closeReceived(self) -> None:
        """Let go: the client wants nothing more."""
        self._discard()
        self.loseConnection()

    def closed(self) -> None:
        """Let go: the session is over, or the connection is."""
        self._discard()

    def _discard(self) -> None:
        """End what is under way and forget what was not sent."""
        face = self._face
        self.buf, self.extBuf = b"", []
        if face is not None:
            face.close()

    # -- how fast ---------------------------------------------------------------------------
    def stopWriting(self) -> None:
        """Take nothing more from a watch: the client does not read."""
        self._is_paused = True
        if self._face is not None:
            self._face.stage.pause()

    def startWriting(self) -> None:
        """Go on; what was kept is sent first."""
        self._is_paused = False
        if self._face is not None:
            self._face.stage.resume()

    def connection_paused(self, is_paused: bool) -> None:
        """Take note that the connection beneath is full, or takes more again."""
        if self._face is not None and not self._is_paused:
            if is_paused:
                self._face.stage.pause()
            else:
                self._face.stage.resume()


class _Way:
    """The way from the terminal to the session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._session.localClosed:
            self._session.write(data)

    def loseConnection(self) -> None:
        """End the session."""
        self._session.leave()


class PromptFace:
    """The prompt, as a session has it."""

    def __init__(self, session: Session) -> None:
        self.prompt = session.make_prompt()
        self.stage = self.prompt.stage
        self._terminal = Terminal(lambda: self.prompt)
        self._terminal.makeConnection(_Way(session))

    def received(self, data: bytes) -> None:
        """Take keys."""
        self._terminal.dataReceived(data)

    def input_ended(self) -> None:
        """Leave: nothing more will be typed."""
        self.prompt.leave()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.prompt.handle_INT()

    def close(self) -> None:
        """Let go of everything."""
        self.prompt.connectionLost()
