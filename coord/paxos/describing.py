"""Messages, in one line each, for traces that people read."""

from __future__ import annotations

import msgspec

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Vote, describe_value
from coord.paxos.membership import Configuration
from coord.paxos.messages import Message


def describe_message(message: Message) -> str:
    """Return a message in one line: its name, then its fields; values as their sizes."""
    fields = [
        f"{field.name}={_describe(getattr(message, field.name))}"
        for field in msgspec.structs.fields(message)
    ]
    return " ".join([type(message).__name__, *fields])


def _describe(value: object) -> str:
    match value:
        case Ballot():
            return value.describe()
        case Vote():
            return f"{value.slot}:{_describe(value.value)}@{value.ballot.describe()}"
        case bytes() | Configuration():
            return describe_value(value).replace(" ", "_")
        case tuple():
            return f"[{' '.join(map(_describe, value))}]"
        case _:
            return str(value)
