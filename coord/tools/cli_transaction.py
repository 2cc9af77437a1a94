"""``coord txn``: a transaction from standard input, in the lines of the line protocol."""

from __future__ import annotations

from coord import commands
from coord.errors import CoordError
from coord.tools.running import Usage
from coord.wire.line import Grammar, RequestParser, Tagged


def transaction_of(content: bytes) -> commands.Transaction:
    """Return the transaction that lines of ``SET``, ``ADD``, ``DEL``, ``CHECK`` and ``GET`` make.

    ``BEGIN`` before and ``COMMIT`` after them may stand there or not.

    :raises Usage: at the first line that is none of these.
    """
    if content and not content.endswith(b"\n"):
        content += b"\n"
    parser = RequestParser(Grammar())
    requests = [*parser.feed(content), *parser.finish()]
    if requests and isinstance(requests[0], commands.Begin):
        del requests[0]
    if requests and isinstance(requests[-1], commands.Commit):
        del requests[-1]
    if not requests:
        raise Usage("a transaction wants lines on standard input, such as: SET /path value")
    parts = tuple(_part(number, request) for number, request in enumerate(requests, 1))
    return commands.Transaction(parts)


def _part(number: int, request: object) -> commands.Part:
    """Return the part of a transaction that a request is."""
    match request:
        case commands.Get(path=path, local=False, rev=None):
            return commands.Look(path)
        case commands.Set() | commands.Add() | commands.Delete() | commands.Check():
            if getattr(request, "ephemeral", False):
                raise Usage(f"line {number}: an ephemeral node would go when this command ends")
            return request
        case CoordError():
            raise Usage(f"line {number}: {request.text}")
        case Tagged():
            raise Usage(f"line {number}: tags have no place here")
        case _:
            kind = type(request).__name__.upper()
            raise Usage(f"line {number}: a transaction has no {kind}; SET ADD DEL CHECK GET")
