"""What one input has led to, gathered until it is handed out as `Effects`.

The rule of the house stands here once: a message that depends on a save leaves after the
disk has said that the save, and every one before it, is done. All votes and the header of
one input make one `Save`; its ticket is the next number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from coord.limits import UNSAVED_BYTES_MAX
from coord.paxos.acceptor import size_of
from coord.paxos.durable import Header, Save, Value, Vote
from coord.paxos.effects import NOTHING, Chosen, Effects, Envelope, Readable, Recall
from coord.paxos.messages import Message


class Outbox:
    """Messages, votes and news of one replica on their way out.

    A restart would know the log to be chosen up to ``durable_chosen``, at least.
    """

    def __init__(self, node: str, durable_chosen: int = 0) -> None:
        self.durable_chosen = durable_chosen
        self._node = node
        self._ticket = 0
        self._saved_ticket = 0
        self._unsaved: deque[tuple[int, int, int]] = deque()
        self._unsaved_bytes = 0
        self._waiting: deque[tuple[int, str, Message]] = deque()
        self._here: deque[Message] = deque()
        self._must_save = False
        self._votes: list[Vote] = []
        self._send: list[Envelope] = []
        self._chosen: list[Chosen] = []
        self._readable: list[Readable] = []
        self._recall: list[Recall] = []

    def send(self, to: tuple[str, ...], message: Message) -> None:
        """Send ``message`` to each of ``to`` at once; to this node itself alone, or not at all."""
        if to == (self._node,):
            self._here.append(message)
        elif to:
            self._send.append(Envelope(to, message))

    def after_save(self, peer: str, message: Message) -> None:
        """Send ``message`` once all that is to be saved up to now is on the disk."""
        pending = 1 if self._votes or self._must_save else 0
        self._waiting.append((self._ticket + pending, peer, message))

    def save(self, *votes: Vote) -> None:
        """Have votes saved, and with them, or without any, the header."""
        self._votes.extend(votes)
        self._must_save = True

    def chosen(self, slot: int, value: Value) -> None:
        """Hand out the next chosen value."""
        self._chosen.append(Chosen(slot, value))

    def readable(self, number: int, slot: int) -> None:
        """Hand out the point of a read."""
        self._readable.append(Readable(number, slot))

    def recall(self, peer: str, slot: int, until: int) -> None:
        """Have old chosen values read from the journal for ``peer``."""
        self._recall.append(Recall(peer, slot, until))

    def saved(self, ticket: int) -> None:
        """Take note that everything up to ``ticket`` is on the disk."""
        self._saved_ticket = max(self._saved_ticket, ticket)
        while self._unsaved and self._unsaved[0][0] <= ticket:
            _, size_bytes, self.durable_chosen = self._unsaved.popleft()
            self._unsaved_bytes -= size_bytes

    @property
    def is_saving(self) -> bool:
        """Whether anything is on its way to the disk."""
        return bool(self._unsaved)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the disk that no more should be handed to it."""
        return self._unsaved_bytes >= UNSAVED_BYTES_MAX

    def inbox(self) -> Iterator[Message]:
        """Yield what this node has to tell itself now, and let go what need not wait longer."""
        while True:
            while self._waiting and self._waiting[0][0] <= self._saved_ticket:
                _, peer, message = self._waiting.popleft()
                self.send((peer,), message)
            if not self._here:
                return
            yield self._here.popleft()

    def effects(self, header: Header) -> Effects:
        """Hand everything out, with ``header`` as it is now if there is anything to save."""
        save = None
        if self._must_save:
            self._ticket += 1
            save = Save(self._ticket, header, tuple(self._votes))
            size_bytes = sum(size_of(vote.value) for vote in self._votes)
            self._unsaved.append((self._ticket, size_bytes, header.chosen))
            self._unsaved_bytes += size_bytes
            self._must_save = False
            self._votes = []
        elif not (self._send or self._chosen or self._readable or self._recall):
            return NOTHING
        effects = Effects(
            save,
            tuple(self._send),
            tuple(self._chosen),
            tuple(self._readable),
            tuple(self._recall),
        )
        self._send, self._chosen, self._readable, self._recall = [], [], [], []
        return effects
