"""What ``coord`` prints: for people on a terminal, plain in a pipe, JSON where it is asked for.

Plain rows are fields between tabs, one row a line: paths as the line protocol writes them, values
as text in which a backslash, and what a line does not bear, is escaped (`coord.wire.backup_text`).
JSON is one object a line; a value that is not UTF-8 is ``value_base64``.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from coord.client.rows import Difference, Member
from coord.errors import CoordError
from coord.events import Event
from coord.paths import encode
from coord.results import Committed, Entry, Facts, Row, Value, Written
from coord.wire.backup_text import escape

VALUE_WIDTH_MIN: Final = 20
STATUS_COUNTS: Final = frozenset(
    {"rev", "slot", "sessions", "watches", "tree_nodes", "behind", "elections", "images"}
)
"""What of a status is a whole number. A digest or a cluster's name may only look like one."""
STATUS_SECONDS: Final = frozenset({"uptime"})


class Output:
    """Where results go.

    :param as_json: whether JSON was asked for.
    :param is_terminal: whether a person looks; by default, whether ``file`` is a terminal.
    """

    def __init__(
        self,
        file: BinaryIO | None = None,
        *,
        as_json: bool = False,
        is_terminal: bool | None = None,
        width: int | None = None,
    ) -> None:
        self._file = sys.stdout.buffer if file is None else file
        self.as_json = as_json
        looks = self._file.isatty() if is_terminal is None else is_terminal
        self.for_people = looks and not as_json
        self._width = width or shutil.get_terminal_size().columns

    def raw(self, content: bytes) -> None:
        """Print bytes as they are."""
        self._file.write(content)
        self._file.flush()

    # -- one result -----------------------------------------------------------------------
    def value(self, path: str, found: Value, *, raw: bool) -> None:
        """Print a value; with a line end unless ``raw``."""
        if self.as_json:
            self._json({"path": path, "rev": found.rev, **_valued(found.value)})
        else:
            self.raw(found.value if raw else found.value + b"\n")

    def written(self, done: Written) -> None:
        """Print what a write made: the node's name where the store chose it, and the revision."""
        path = None if done.path is None else _shown(done.path)
        if self.as_json:
            self._json({"rev": done.rev} if path is None else {"rev": done.rev, "path": done.path})
        elif self.for_people:
            self._line(f"revision {done.rev}" if path is None else f"{path}, revision {done.rev}")
        else:
            self._line(str(done.rev) if path is None else f"{path}\t{done.rev}")

    def number(self, rev: int) -> None:
        """Print a revision."""
        if self.as_json:
            self._json({"rev": rev})
        else:
            self._line(str(rev))

    def facts(self, facts: Facts) -> None:
        """Print what is known of a node."""
        fields = {name: getattr(facts, name) for name in Facts.__struct_fields__}
        if self.as_json:
            self._json(fields)
            return
        fields["path"] = _shown(facts.path)
        fields["holders"] = ",".join(facts.holders) or None
        fields["shared"] = "yes" if facts.shared else "no"
        if self.for_people:
            for name in ("created", "modified"):
                fields[f"{name} at"] = _moment(fields.pop(f"{name}_ms"))
        self.pairs({name: _dash(value) for name, value in fields.items()})

    def committed(self, done: Committed) -> None:
        """Print what a transaction read and made, and its revision last."""
        if self.as_json:
            self._json({"rev": done.rev, "rows": list(map(_seen, done.rows))})
            return
        for row in done.rows:
            match row:
                case str():
                    self._line(_shown(row))
                case CoordError():
                    self._line(f"{row.code} {row.text}")
                case _:
                    self._table([(str(row.rev), escape(row.value).decode())])
        self._line(f"revision {done.rev}" if self.for_people else str(done.rev))

    def status(self, told: dict[str, str], items: Sequence[str] = ()) -> None:
        """Print how a server is, or of that the values of some items alone, ``-`` for none."""
        if items:
            told = {name: told.get(name, "-") for name in items}
        if items and not self.as_json:
            for text in told.values():
                self._line(text)
        elif self.as_json:
            self._json({name: _figure(name, text) for name, text in told.items()})
        else:
            self.pairs(told)

    def pairs(self, pairs: dict[str, str]) -> None:
        """Print names with what they stand for, as text."""
        wide = max(map(len, pairs), default=0) if self.for_people else 0
        for name, text in pairs.items():
            self._line(f"{name:{wide}}  {text}" if wide else f"{name}={text}")

    def lines(self, lines: Sequence[str]) -> None:
        """Print lines for people as they come."""
        for line in lines:
            if self.as_json:
                self._json({"text": line})
            else:
                self._line(line)

    # -- rows -----------------------------------------------------------------------------------
    def names(self, names: Sequence[str]) -> None:
        """Print the names of children."""
        for name in names:
            if self.as_json:
                self._json({"name": name})
            else:
                self._line(_shown(name))

    def rows(self, rows: Sequence[Row]) -> None:
        """Print some nodes of a walk."""
        if self.as_json:
            for row in rows:
                self._json({"path": row.path, "rev": row.rev, **_valued(row.value)})
            return
        self._table((_shown(row.path), str(row.rev), escape(row.value).decode()) for row in rows)

    def entries(self, entries: Sequence[Entry]) -> None:
        """Print who changed what."""
        rows = [
            (str(one.rev), _shown(one.path), one.verb, one.author, _utc(one.time_ms))
            for one in entries
        ]
        if self.as_json:
            names = ("rev", "path", "verb", "author", "time")
            for one, row in zip(entries, rows, strict=True):
                told = dict(zip(names, row, strict=True))
                self._json({**told, "rev": one.rev, "path": one.path})
        else:
            self._table(rows)

    def difference(self, difference: Difference) -> None:
        """Print how things differ: what changed, what did not, and that the rest is gone."""
        head = {"rev": difference.rev, "after_rev": difference.after_rev}
        if self.as_json:
            changed = [
                {"path": row.path, "rev": row.rev, **_valued(row.value)}
                for row in difference.changed
            ]
            same = list(difference.unchanged)
            self._json({"event": "differs", **head, "changed": changed, "unchanged": same})
            return
        self._line(f"{difference.rev}\tdiffers\t{difference.after_rev}")
        for row in difference.changed:
            self._line(f"{row.rev}\tset\t{_shown(row.path)}\t{escape(row.value).decode()}")
        for path in difference.unchanged:
            self._line(f"{difference.after_rev}\tsame\t{_shown(path)}")
        self._line(f"{difference.rev}\tend")

    def event(self, event: Event) -> None:
        """Print one change."""
        if self.as_json:
            told: dict[str, Any] = {"rev": event.rev, "event": event.kind.value, "path": event.path}
            self._json(told if event.value is None else {**told, **_valued(event.value)})
            return
        words = [str(event.rev), event.kind.value, _shown(event.path)]
        if event.value is not None:
            words.append(escape(event.value).decode())
        line = "  ".join(words) if self.for_people else "\t".join(words)
        self._line(self._cut(line))

    def members(self, members: Iterable[Member]) -> None:
        """Print the nodes of the cluster."""
        rows = [(one.name, one.address, one.part, "up" if one.is_up else "down") for one in members]
        if self.as_json:
            for row in rows:
                self._json(dict(zip(("name", "address", "part", "state"), row, strict=True)))
        else:
            self._table(rows)

    def _table(self, rows: Iterable[Sequence[str]]) -> None:
        if not self.for_people:
            for row in rows:
                self._line("\t".join(row), flush=False)
            self._file.flush()
            return
        whole = list(rows)
        widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
        for row in whole:
            *head, last = row
            cells = [f"{cell:{width}}" for cell, width in zip(head, widths, strict=False)]
            self._line(self._cut("  ".join([*cells, last])))

    def _cut(self, line: str) -> str:
        if not self.for_people or len(line) <= self._width:
            return line
        return line[: max(VALUE_WIDTH_MIN, self._width) - 1] + "\u2026"

    def _json(self, content: dict[str, Any]) -> None:
        self._line(json.dumps(content, ensure_ascii=False))

    def _line(self, text: str, *, flush: bool = True) -> None:
        self._file.write(text.encode("utf-8", "replace") + b"\n")
        if flush:
            self._file.flush()


def _shown(path: str) -> str:
    return encode(path).decode()


def _moment(time_ms: int) -> str | None:
    """Return a time of the store as the person's own clock shows it."""
    if not time_ms:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000).astimezone()
    return moment.isoformat(" ", "seconds")


def _utc(time_ms: int) -> str:
    """Return a time of the store as the line protocol writes it."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03}Z"


def _seen(row: Value | CoordError | str) -> dict[str, Any]:
    """Return a row of a transaction's answer as JSON has it."""
    match row:
        case str():
            return {"path": row}
        case CoordError():
            return {"error": row.code, "text": row.text}
        case _:
            return {"rev": row.rev, **_valued(row.value)}


def _figure(name: str, text: str) -> int | float | str:
    """Return what a server says of itself, as the number that it is where it is one."""
    try:
        if name in STATUS_COUNTS:
            return int(text)
        return float(text) if name in STATUS_SECONDS else text
    except ValueError:
        return text


def _dash(value: object) -> str:
    return "-" if value is None else str(value)


def _valued(value: bytes) -> dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}
