"""The words of the console: few, documented, and none that a careless line could break things by.

A word works bare (``status``) and called (``tree('/services')``), at the prompt and as
``ssh HOST status``. Each gives an `Output`, made of what the node's own objects say of themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import attrs
from twisted.logger import Logger

import coord
from coord import paths
from coord.commands import Caller, EndSession, Get, List, Walk
from coord.errors import BadRequest, CoordError, Denied, IsDirectory
from coord.events import Event
from coord.frontends.console import membership
from coord.frontends.console.colours import clean
from coord.frontends.console.holdings import lock_lines, session_lines
from coord.frontends.console.outputs import FAILED, MISUSED, Answer, Output, Question, Stream
from coord.frontends.console.speech import NotUnderstood, Spoken, parse
from coord.paths import Glob
from coord.replicator.coordinator import Coordinator
from coord.replicator.replicator import Replicator
from coord.results import Result, Row, Rows, Value

TREE_ROWS: Final = 100
TREE_ROWS_MAX: Final = 2000
"""Rows of one ``tree``: they are made in one go."""
VALUE_LETTERS_MAX: Final = 200
CHILDREN_MAX: Final = 200
"""Names looked through to complete a path."""


class ITells(Protocol):
    """What tells of itself in one line."""

    def describe(self) -> str:
        """Return it in one line."""


class ILinks(Protocol):
    """The links to the others."""

    def describe(self) -> list[str]:
        """Return one line for each peer."""


@attrs.frozen(kw_only=True)
class Subjects:
    """The objects of a node that the console speaks of."""

    replicator: Replicator
    coordinator: Coordinator
    transport: ILinks
    journal: ITells
    lines: ITells


class Word:
    """One word; called, or bare, it gives its output. What is a change is for operators alone."""

    _log = Logger()

    def __init__(self, function: Callable[..., Output], usage: str, *, is_change: bool) -> None:
        self.name = function.__name__
        self.usage = usage
        self.help = inspect.getdoc(function) or ""
        self.is_change = is_change
        self._function = function

    def __call__(self, *given: Any, **named: Any) -> Output:
        """Return what comes of it; whatever goes wrong is an answer, too."""
        try:
            inspect.signature(self._function).bind(*given, **named)
        except TypeError as error:
            return Answer([f"{self.name}: {error}; say {self.usage}"], MISUSED)
        try:
            return self._function(*given, **named)
        except BadRequest as error:
            return Answer([f"{self.name}: {error.text}; say {self.usage}"], MISUSED)
        except CoordError as error:
            return Answer([f"{error.code}: {error.text}"], FAILED)
        except Exception as error:
            self._log.failure("console: a bug in the word {name}", name=self.name)
            return Answer([f"this is a bug, the node goes on: {error!r}"], FAILED)

    def __repr__(self) -> str:
        return repr(self())


class Words:
    """The words that one visitor may use, over the objects of one node.

    What they read of the tree they read as ``caller``.
    """

    def __init__(self, subjects: Subjects, caller: Caller, *, is_operator: bool) -> None:
        self._subjects = subjects
        self._caller = caller
        self._account = subjects.replicator.account
        self._is_operator = is_operator
        self.all = {
            word.name: word
            for word in (
                Word(self.status, "status", is_change=False),
                Word(self.members, "members", is_change=False),
                Word(self.tree, "tree('/path', limit=100)", is_change=False),
                Word(self.watch, "watch('/glob/**', rev=N)", is_change=False),
                Word(self.sessions, "sessions", is_change=False),
                Word(self.locks, "locks, or locks('/glob/**')", is_change=False),
                Word(self.slots, "slots", is_change=False),
                Word(self.links, "links", is_change=False),
                Word(self.journal, "journal", is_change=False),
                Word(self.trace, "trace, or trace('beats')", is_change=False),
                Word(self.step_down, "step_down()", is_change=True),
                Word(self.member, "member add n4 HOST:PORT", is_change=True),
                Word(self.end_session, "end_session('id')", is_change=True),
                Word(self.help, "help, or help('word')", is_change=False),
            )
        }

    def say(self, line: str) -> Output:
        """Return what comes of a line with a word in it."""
        try:
            return self.do(parse(line))
        except NotUnderstood as error:
            return Answer([str(error)], MISUSED)

    def do(self, spoken: Spoken) -> Output:
        """Return what comes of a word and what it was given."""
        word = self.all.get(spoken.name)
        if word is None:
            names = ", ".join(self.all)
            return Answer([f"there is no word {spoken.name!r}; there are {names}"], MISUSED)
        if word.is_change and not self._is_operator:
            return Answer(["DENIED: a reader's key does not allow this"], FAILED)
        return word(*spoken.given, **spoken.named)

    def greeting(self) -> list[str]:
        """Return what a visitor is told first."""
        account = self._account
        identity = account.identity
        beside = "; any other line is Python" if self._is_operator else ""
        state = f"{account.replica.role}, {account.trouble() or 'serves'}"
        return [
            f"coord {coord.__version__}, node {identity.node} of {identity.cluster}: {state}",
            f"Words: {' '.join(self.all)}",
            f"help tells what they do{beside}.",
            "Tab completes, Ctrl-C ends a watch, Ctrl-D leaves.",
        ]

    # -- the words ------------------------------------------------------------------------
    def status(self) -> Answer:
        """Show how this node is: its part in the cluster, its store, what waits, its clients."""
        account, subjects = self._account, self._subjects
        identity, figures = account.identity, account.figures()
        trouble = account.trouble()
        state = "serves" if trouble is None else f"does not serve: {trouble}"
        facts = {
            "node": f"{identity.node} of {identity.cluster}, life {identity.incarnation},"
            f" coord {coord.__version__}, up {account.uptime():.0f} s, {state}",
            "replica": account.describe(),
            "store": account.applier.store.describe(),
            "requests": f"{figures['commands_waiting']} writes wait,"
            f" {figures['batches_in_flight']} batches in flight,"
            f" {figures['reads_waiting']} reads wait;"
            f" {figures['writes']} written and {figures['reads']} read in this life",
            "journal": subjects.journal.describe(),
            "clients": subjects.lines.describe(),
        }
        return Answer([f"{name:<9} {line}" for name, line in facts.items()])

    def members(self) -> Answer:
        """Show the cluster as this node sees it: node, address, part, up or down, who leads."""
        own, rows = self._account.identity.node, []
        for row in self._account.members().rows:
            node = row.split()[0]
            remarks = ", ".join(self._account.remarks(node))
            rows.append(" ".join([row, *filter(None, [remarks]), *["(this node)"] * (node == own)]))
        return Answer(rows)

    def tree(self, path: str = "/", limit: int | str = TREE_ROWS) -> Answer:
        """Show what this node holds at and below a path, as it stands: path, revision, value."""
        place = paths.validate(_text(path))
        count = _number(limit, TREE_ROWS_MAX)
        below = "/**" if place == paths.ROOT else f"{_literal(place)}/**"
        own, found = self._read(Get(place, local=True), Walk(below, limit=count + 1, local=True))
        if isinstance(found, CoordError):
            raise found
        assert isinstance(found, Rows), "a walk gives rows"
        lines = [_row(row) for row in found.rows if isinstance(row, Row)]
        if isinstance(own, Value):
            lines.insert(0, _row(Row(place, own.rev, own.value)))
        elif isinstance(own, Denied):  # though what is below may be read
            if not lines:
                raise own
        elif isinstance(own, CoordError) and not isinstance(own, IsDirectory):
            raise own
        if len(lines) > count:
            lines[count:] = [f"... and more: tree({place!r}, limit={TREE_ROWS_MAX}), or deeper"]
        return Answer(lines or [f"nothing below {place} has a value"])

    def watch(self, glob: str = "/**", rev: int | str | None = None) -> Stream:
        """Show every change that matches, from now or after revision ``rev``, until Ctrl-C."""
        compiled = Glob.parse(_text(glob).encode())
        after = None if rev is None else _number(rev, 1 << 62, least=0)
        coordinator, caller = self._subjects.coordinator, self._caller
        since = coordinator.rev if after is None else after
        return Stream(
            f"watch {clean(compiled.written)} after revision {since}",
            lambda wake: coordinator.watch(compiled, after, wake, caller),
            _event,
        )

    def sessions(self, limit: int | str = TREE_ROWS) -> Answer:
        """Show who has a session open: from where, since when, and what it owns and waits for."""
        count = _number(limit, TREE_ROWS_MAX)
        is_here = self._subjects.replicator.sessions.keeper.is_attached
        return Answer(session_lines(self._subjects.coordinator.sessions(), is_here, count))

    def locks(self, glob: str = "/**", limit: int | str = TREE_ROWS) -> Answer:
        """Show who holds which lock and who waits in line; who wait for each other, if any do."""
        compiled = Glob.parse(_text(glob).encode())
        count = _number(limit, TREE_ROWS_MAX)
        locks = self._subjects.coordinator.locks()
        return Answer(lock_lines(locks, compiled.matches, count))

    def slots(self) -> Answer:
        """Show the slots of the log that are open: what is proposed and who has voted for it."""
        account = self._account
        opened = account.open_slots()
        return Answer([account.describe(), *(opened or ["no slot is open"])])

    def links(self) -> Answer:
        """Show the links to the other nodes: up or down, how much went over them, what waits."""
        return Answer(self._subjects.transport.describe() or ["this node has no peers"])

    def journal(self) -> Answer:
        """Show the disk: how much log is kept, the image of the store, what is being saved."""
        return Answer([self._subjects.journal.describe(), self._account.images.imaging.describe()])

    def trace(self, what: str = "") -> Stream:
        """Show what this node and the others say to each other, until Ctrl-C; beats if asked."""
        if what not in ("", "beats"):
            raise BadRequest("there is nothing to trace but 'beats'")
        traces = self._subjects.replicator.traces
        title = "trace with beats" if what else "trace"
        return Stream(title, lambda wake: traces.open(wake, beats=bool(what)), clean)

    def step_down(self, node: str = "") -> Output:
        """Have this node lead no more, so that another is elected; asks first."""
        name = self._account.identity.node
        if node not in ("", name):
            raise BadRequest(f"this is {name}, not {node}")
        if not self._account.replica.is_leading:
            return self._stepped_down()
        if node == name:
            return self._stepped_down()
        return Question(
            f"{name} leads; writes pause for about half a second until another does. Step down?",
            self._stepped_down,
            f"Say step_down {name} to mean it.",
        )

    def member(self, *words: object) -> Output:
        """Add, remove, promote or replace a node, as MEMBER does; after plan only tell of it."""
        meant = membership.understood(words)
        return membership.output(self._subjects.coordinator, meant, self._caller)

    def end_session(self, session: str, meant: str = "") -> Output:
        """End a session whose client is lost, and with it its nodes and locks; asks first."""
        name = str(session)
        found = [one for one in self._subjects.coordinator.sessions() if one.session == name]
        if not found:
            return Answer([f"there is no session {clean(name)}; sessions shows them all"], FAILED)
        if meant not in ("", "really"):
            raise BadRequest(f"{meant!r} is not 'really'")
        if meant:
            return self._ended(name)
        (one,) = found
        return Question(
            f"{name} of {clean(one.author)} has {one.nodes} nodes and {len(one.locks)} locks;"
            " its client may still be there and believe in them. End it?",
            lambda: self._ended(name),
            f"Say end_session {name} really to mean it.",
        )

    def help(self, word: str | Word = "") -> Answer:
        """Tell what the words do, or one of them."""
        if not word:
            width = max(len(one.usage) for one in self.all.values())
            return Answer([f"{one.usage:<{width}}  {one.help}" for one in self.all.values()])
        name = word.name if isinstance(word, Word) else str(word)
        if name not in self.all:
            raise BadRequest(f"there is no word {name!r}")
        return Answer([self.all[name].usage, self.all[name].help])

    # -- beneath them ------------------------------------------------------------------------
    def _stepped_down(self) -> Answer:
        problem = self._subjects.replicator.step_down()
        if problem is not None:
            return Answer([f"not done: {problem}"], FAILED)
        name = self._account.identity.node
        return Answer([f"{name} leads no more; members tells who does in a moment"])

    def _ended(self, session: str) -> Answer:
        """Propose the end of a session; whether it comes to it, a moment will show."""
        self._subjects.coordinator.submit([EndSession(session)], lambda _: None, self._caller)
        return Answer([f"the end of {session} is on its way; sessions tells when it is gone"])

    def _read(self, *reads: Get | Walk | List) -> Sequence[Result]:
        answers: list[Sequence[Result]] = []
        self._subjects.coordinator.submit(reads, answers.append, self._caller)
        return answers[0]  # local reads are answered at once

    def children(self, path: str) -> list[str]:
        """Return paths just below ``path`` for completion; none where that makes no sense."""
        try:
            (found,) = self._read(List(paths.validate(path), local=True))
        except CoordError:
            return []
        if not isinstance(found, Rows):
            return []
        names = islice((one for one in found.rows if isinstance(one, str)), CHILDREN_MAX)
        start = "" if path == paths.ROOT else path
        children = [f"{start}/{name}" for name in names]
        found.close()
        return children


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise BadRequest(f"a path or glob is a text, not {given!r}")
    return given


def _number(given: object, most: int, least: int = 1) -> int:
    try:
        number = int(given) if isinstance(given, int | str) else -1
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise BadRequest(f"{given!r} is no number from {least} to {most}")
    return number


def _literal(path: str) -> str:
    """Return the glob that means a path and nothing else."""
    return paths.encode(path).replace(b"*", b"%2A").replace(b"?", b"%3F").decode()


def _row(row: Row) -> str:
    return f"{clean(row.path)}  {row.rev}  {shown(row.value)}"


def _event(event: Event) -> str:
    line = f"{event.rev} {event.kind.value} {clean(event.path)}"
    return line if event.value is None else f"{line} {shown(event.value)}"


def shown(value: bytes) -> str:
    """Return a value as a line shows it: text where it is text, else its first bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"({len(value)} bytes) {value[: VALUE_LETTERS_MAX // 4].hex(' ')}"
    if len(text) > VALUE_LETTERS_MAX:
        return f"{clean(text[:VALUE_LETTERS_MAX])}... ({len(value)} bytes)"
    return clean(text)
