"""Where outputs are shown: one at a time, as fast as it is looked at, and ended cleanly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from coord.errors import CoordError
from coord.frontends.console.outputs import (
    DONE,
    FAILED,
    INTERRUPTED,
    Answer,
    Later,
    Output,
    Question,
    Source,
    Stream,
)

ITEMS_PER_TURN: Final = 100
"""Lines of a stream written in one turn; then others have theirs."""


class Stage:
    """Shows outputs for one session.

    ``say`` takes lines, and whether they tell of a failure; ``ended`` is called with the status
    once an output is over. ``ask`` takes a question's text, or is None where nobody can answer.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        say: Callable[[Sequence[str], bool], None],
        ended: Callable[[int], None],
        ask: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._say = say
        self._ended = ended
        self._ask = ask
        self._stream: Stream | None = None
        self._source: Source | None = None
        self._question: Question | None = None
        self._later: Later | None = None
        self._call: IDelayedCall | None = None
        self._paused = False

    @property
    def is_streaming(self) -> bool:
        """Whether lines come until they are ended, or an answer is to come."""
        return self._stream is not None or self._later is not None

    @property
    def is_asking(self) -> bool:
        """Whether a question waits for its answer."""
        return self._question is not None

    def show(self, output: Output) -> None:
        """Show an output; the one before must be over."""
        match output:
            case Answer():
                self._say(output.lines, output.status != DONE)
                self._ended(output.status)
            case Question():
                self._show_question(output)
            case Stream():
                self._begin(output)
            case Later():
                self._later = output
                output.begin(partial(self._told, output))
            case _:
                assert_never(output)

    def answer(self, text: str) -> None:
        """Take the answer to the question that waits; only ``y`` and ``yes`` mean yes."""
        question, self._question = self._question, None
        assert question is not None, "is_asking says so"
        if text.strip().lower() in ("y", "yes"):
            self.show(question.yes())
        else:
            self.show(Answer(["nothing was done"], FAILED))

    def interrupt(self) -> bool:
        """End what is under way, as Ctrl-C does; say whether anything was."""
        if self._question is None and not self.is_streaming:
            return False
        self.close()
        self._ended(INTERRUPTED)
        return True

    def close(self) -> None:
        """End what is under way without a word: nothing of it is left."""
        self._question = self._stream = self._later = None
        source, self._source = self._source, None
        if source is not None:
            source.close()
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def pause(self) -> None:
        """Take nothing more: what was said is not read yet."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        if self._source is not None and self._source.ready:
            self._soon()

    def _told(self, later: Later, answer: Answer) -> None:
        """Show an answer that has come, unless nobody waits for it any more."""
        if self._later is later:
            self._later = None
            self.show(answer)

    # -- questions and streams --------------------------------------------------------------
    def _show_question(self, question: Question) -> None:
        if self._ask is None:
            self._say([question.text, question.otherwise], True)
            self._ended(FAILED)
            return
        self._question = question
        self._ask(f"{question.text} [y/N] ")

    def _begin(self, stream: Stream) -> None:
        self._stream = stream
        try:
            self._source = stream.open(self._soon)
        except CoordError as error:
            self._fail(f"{error.code}: {error.text}")
            return
        if self._ask is not None:
            self._say([f"{stream.title}; Ctrl-C ends it"], False)
        if self._source.ready:
            self._soon()

    def _soon(self) -> None:
        if self._stream is not None and self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._call = None
        stream, source = self._stream, self._source
        if stream is None or source is None or self._paused:
            return
        try:
            lines = [stream.line(item) for item in source.take(ITEMS_PER_TURN)]
        except CoordError as error:
            self._fail(f"{error.code}: {error.text}")
            return
        except Exception as error:
            self._log.failure("console: a bug ended {title}", title=stream.title)
            self._fail(f"this is a bug, the node goes on: {error!r}")
            return
        if lines:
            self._say(lines, False)
        if source.ready:
            self._soon()

    def _fail(self, why: str) -> None:
        self.close()
        self._say([why], True)
        self._ended(FAILED)
