"""What each write of a client does: the plain ones at once, all others on a draft.

Every revision is one call of `History.append`; a refused write leaves nothing behind. A node
that comes or goes changes its parent too: the parent's new record at that revision keeps
``STAT rev=N`` true. Records of one revision are in path order, parents first.

Most writes by far set, make or delete one node that nobody has a claim on. These have a short way
of their own, which does what the long one would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from coord.commands import (
    Add,
    Caller,
    Check,
    Delete,
    Genesis,
    Level,
    Lock,
    Look,
    Once,
    Revert,
    Roster,
    Set,
    Transaction,
    Unlock,
)
from coord.errors import Aborted, CoordError, Overloaded
from coord.limits import (
    OUTCOME_BYTES_MAX,
    TRANSACTION_PARTS_MAX,
    TRANSACTION_ROWS_BYTES_MAX,
)
from coord.paths import CONTROL, order_key
from coord.results import Committed, Value, Written
from coord.store import refusals
from coord.store.answers import Answer, decoded, encoded
from coord.store.draft import Draft
from coord.store.granting import Granting
from coord.store.parts import Parts, changed
from coord.store.state import State
from coord.store.tree import Directory, Mark, Version, above, tombstone, with_directory

_ADMIN: Final = int(Level.ADMIN)
_CONTROL_KEY: Final = order_key(CONTROL)
_MEMBERS: Final = f"{CONTROL}/members"


class Writer:
    """The writes of clients; ``by_type`` finds the one for a command's type."""

    def __init__(self, state: State, granting: Granting) -> None:
        self._state = state
        self._tree = state.tree
        self._live = state.tree.live
        self._locks = state.locks.live
        self._history = state.history
        self._marks = state.marks
        self._granting = granting
        self._parts = Parts(state, granting)
        self.by_part: dict[type, Callable[[Draft, Any, Caller], object]] = {
            Set: self._parts.set,
            Add: self._parts.add,
            Delete: self._parts.delete,
            Check: self._parts.check,
            Look: self._parts.look,
        }
        self.by_type: dict[type, Callable[[Any, int, Caller], Answer]] = {
            Genesis: self.genesis,
            Roster: self.roster,
            Set: self.set,
            Add: self.add,
            Delete: self.delete,
            Lock: granting.lock,
            Unlock: granting.unlock,
            Transaction: self.transaction,
            Revert: self.revert,
            Once: self.once,
        }

    def genesis(self, write: Genesis, time_ms: int, caller: Caller) -> Answer:
        """Write the cluster's own first nodes, one revision each; later only another name of it.

        That comes with a forced recovery alone (``coord recover``).
        """
        mark = self._marks.of(caller, "GENESIS")
        if self._history.rev > 0:
            draft = self._state.draft(time_ms)
            key, cluster = order_key(f"{CONTROL}/cluster"), write.cluster.encode()
            old = draft.get(key)
            if old is not None and old.value != cluster:
                draft.set(key, cluster, mark)
                self._state.commit(draft)
        else:
            self._put_once(f"{CONTROL}/cluster", write.cluster, time_ms, mark)
            for name, address in sorted(write.members):
                self._put_once(f"{_MEMBERS}/{name}", address, time_ms, mark)
        return Written(self._history.rev)

    def roster(self, write: Roster, time_ms: int, caller: Caller) -> Answer:
        """Write who the cluster's nodes are, in one revision; none where nothing changes."""
        draft = self._state.draft(time_ms)
        mark = self._marks.of(caller, "MEMBER")
        wanted = {order_key(f"{_MEMBERS}/{name}"): text.encode() for name, text in write.members}
        for key, value in wanted.items():
            old = draft.get(key)
            if old is None or old.value != value:
                draft.set(key, value, mark)
        draft.lose([key for key in draft.below(order_key(_MEMBERS)) if key not in wanted], mark)
        return Written(self._state.commit(draft))

    def _put_once(self, path: str, text: str, time_ms: int, mark: Mark) -> None:
        draft = self._state.draft(time_ms)
        if draft.get(order_key(path)) is None:
            draft.set(order_key(path), text.encode(), mark)
            self._state.commit(draft)

    # -- one node --------------------------------------------------------------------
    def set(self, write: Set, time_ms: int, caller: Caller) -> Answer:
        """Give a node a value."""
        path = write.path
        key = order_key(path)
        old = self._live.get(key)
        if (
            write.ephemeral
            or write.ttl_ms is not None
            or (old is not None and old.ttl_ms)
            or key in self._locks
            or path.startswith(CONTROL)
        ):
            return self._set(write, time_ms, caller, "SET")
        if caller.level < _ADMIN or write.if_rev is not None:
            refusal = self._state.unwritable(path, caller) or changed(path, old, write.if_rev)
            if refusal is not None:
                return refusal
        mark = self._marks.of(caller, "SET")
        if old is None:
            return self._make(key, write.value, time_ms, mark)
        history = self._history
        rev = history.rev + 1
        version = Version(
            old.key,
            rev,
            rev,
            write.value,
            old.created,
            old.version + 1,
            old.created_ms,
            time_ms,
            old.directory,
            old.owner,
            0,
            mark,
        )
        self._tree.put(version)
        history.append(version)
        return Written(rev)

    def _make(
        self, key: str, value: bytes, time_ms: int, mark: Mark, path: str | None = None
    ) -> Written:
        """Make a node that nobody has a claim on; the answer names it by ``path``."""
        history, tree = self._history, self._tree
        rev = history.rev + 1
        parent = self._live.get(above(key))
        if parent is None or parent.directory is None:
            draft = self._state.draft(time_ms)
            draft.set(key, value, mark)
            return Written(self._state.commit(draft), path)
        old = parent.directory
        directory = Directory(old.children + 1, rev, old.child_version + 1, old.sequence)
        parent = with_directory(parent, rev, directory)
        version = Version(key, rev, rev, value, rev, 1, time_ms, time_ms, None, None, 0, mark)
        tree.put(parent)
        tree.put(version)
        history.append((parent, version))
        return Written(rev, path)

    def _set(self, write: Set, time_ms: int, caller: Caller, verb: str) -> Answer:
        draft = self._state.draft(time_ms)
        refusal = self._parts.set(draft, write, caller, verb)
        return Written(self._state.commit(draft)) if refusal is None else refusal

    def revert(self, write: Revert, time_ms: int, caller: Caller) -> Answer:
        """Set a node to what it once held."""
        if write.value is None:
            return refusals.nothing_to_revert_to(write.path, write.rev, write.refusal)
        return self._set(Set(write.path, write.value, write.if_rev), time_ms, caller, "REVERT")

    def add(self, write: Add, time_ms: int, caller: Caller) -> Answer:
        """Make a node that is not there yet, and name it."""
        path = write.path
        if (
            caller.level >= _ADMIN
            and not (write.sequential or write.ephemeral or write.ttl_ms)
            and not path.startswith(CONTROL)
            and (key := order_key(path)) not in self._live
        ):
            return self._make(key, write.value, time_ms, self._marks.of(caller, "ADD"), path)
        draft = self._state.draft(time_ms)
        result = self._parts.add(draft, write, caller)
        if isinstance(result, CoordError):
            return result
        return Written(self._state.commit(draft), result)

    def delete(self, write: Delete, time_ms: int, caller: Caller) -> Answer:
        """Delete a node, or all of a tree in one revision."""
        if caller.level >= _ADMIN and write.if_rev is None:
            rev = self._drop(order_key(write.path), time_ms, caller)
            if rev is not None:
                return Written(rev)
        draft = self._state.draft(time_ms)
        refusal = self._parts.delete(draft, write, caller)
        return Written(self._end(draft)) if refusal is None else refusal

    def _drop(self, key: str, time_ms: int, caller: Caller) -> int | None:
        """Delete a node that nobody has a claim on; return the revision.

        ``None`` where it is not such a node, not a leaf, or not the only thing that goes.
        """
        old, tree, history = self._live.get(key), self._tree, self._history
        if (
            old is None
            or not (old.directory is None and old.owner is None and old.ttl_ms == 0 and key)
            or key in self._locks
            or key.startswith(_CONTROL_KEY)
        ):
            return None
        parent = self._live[above(key)]
        last = parent.directory
        if last is None or (last.children == 1 and parent.value is None):
            return None
        rev, mark = history.rev + 1, self._marks.of(caller, "DEL")
        directory = Directory(last.children - 1, rev, last.child_version + 1, last.sequence)
        parent, stone = with_directory(parent, rev, directory), tombstone(old, rev, time_ms, mark)
        tree.put(parent)
        tree.bury([stone])
        history.append((parent, stone))
        return rev

    def _end(self, draft: Draft) -> int:
        """Commit a draft; then give the locks that were left to those who wait."""
        rev = self._state.commit(draft)
        if draft.left:
            self._granting.settle(draft.left, draft.time_ms)
        return rev

    # -- many, or once -----------------------------------------------------------------
    def transaction(
        self,
        write: Transaction,
        time_ms: int,
        caller: Caller,
        rows_bytes_max: int = TRANSACTION_ROWS_BYTES_MAX,
    ) -> Answer:
        """Do all steps at one revision, or none."""
        if len(write.parts) > TRANSACTION_PARTS_MAX:
            return refusals.too_many_parts(len(write.parts))
        draft = self._state.draft(time_ms)
        rows: list[Value | CoordError | str] = []
        rows_bytes = 0
        for number, part in enumerate(write.parts, 1):
            result: Any = self.by_part[type(part)](draft, part, caller)
            if isinstance(part, Look) or (isinstance(part, Add) and part.sequential):
                rows.append(result)
                rows_bytes += _row_bytes(result)
            if isinstance(result, CoordError) and not isinstance(part, Look):
                return _aborted(number, result)
            if rows_bytes > rows_bytes_max:
                return _aborted(number, refusals.too_much_told(rows_bytes_max))
        return Committed(self._end(draft), tuple(rows))

    def once(self, write: Once, time_ms: int, caller: Caller) -> Answer:
        """Do a write that has a name, if it was not done yet; answer as the first time.

        What was refused as `Overloaded` was not done, and may be tried again under its name.
        """
        session = self._state.sessions.find(caller.session)
        if isinstance(session, CoordError):
            return session
        known = None if session.answers is None else session.answers.get(write.word)
        if known is not None:
            return decoded(known)
        if isinstance(write.write, Transaction):
            answer = self.transaction(write.write, time_ms, caller, OUTCOME_BYTES_MAX // 2)
        else:
            answer = self.by_type[type(write.write)](write.write, time_ms, caller)
        if not isinstance(answer, Overloaded):
            self._state.sessions.remember(session, write.word, encoded(answer))
        return answer


def _aborted(number: int, reason: CoordError) -> Aborted:
    return Aborted(f"{number} {reason.code} {reason.text}")


def _row_bytes(row: object) -> int:
    if isinstance(row, Value):
        return 16 + len(row.value)
    return 16 + len(row.text if isinstance(row, CoordError) else str(row))
