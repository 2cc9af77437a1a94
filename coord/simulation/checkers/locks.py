"""Locks, as the log has them: never two holders, tokens that only grow, grants in order.

The history of a lock's node tells every grant (``LOCK`` at once, ``GRANT`` from the queue) with its
revision, which is the token, and by its unique value the request that it answers. A hold ends when
its session does, or when its client gave it up. What a client asked for and never heard of may
have been done at any time; the judge believes the store there, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from coord.commands import Delete, Lock, Set, Unlock
from coord.results import Committed, Facts, Granted, Queued, Written
from coord.simulation.chronicle import Change, Chronicle
from coord.simulation.deeds import Deed, Ledger

GRANTS = ("LOCK", "GRANT")
RELEASES = ("UNLOCK", "END", "EXPIRE", "DEL", "GRANT")


class Grant(msgspec.Struct, kw_only=True):
    """A lock that was given: to which request, when, and from what revision on it was over."""

    deed: Deed
    path: str
    token: int
    seconds: float
    was_waiting: bool

    @property
    def lock(self) -> Lock:
        """What was asked for."""
        write = self.deed.write
        assert isinstance(write, Lock)
        return write


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return the grants that should not have been, and the answers that fit none."""
    found = Locks(chronicle, ledger)
    return [
        *found.unknown,
        *found.rivals(),
        *found.orders(),
        *found.strangers(),
        *found.answers(),
        *found.growing(),
        *found.facts(),
    ]


class Locks:
    """All grants of a run, by path."""

    def __init__(self, chronicle: Chronicle, ledger: Ledger) -> None:
        self._chronicle = chronicle
        self._ledger = ledger
        self._by_value = ledger.by_value()
        self.unknown: list[str] = []
        self.by_path: dict[str, list[Grant]] = {}
        self.by_token: dict[tuple[str, int], Grant] = {}
        for change in chronicle.changes:
            if change.event.path.startswith("/l/") and change.entry.verb in GRANTS:
                self._note(change)
        self._releases = self._by_session()

    def _note(self, change: Change) -> None:
        event = change.event
        deed = self._by_value.get(event.value or b"")
        if deed is None or not isinstance(deed.write, Lock) or deed.write.path != event.path:
            self.unknown.append(f"locks: nobody asked for {event!r}")
            return
        grant = Grant(
            deed=deed,
            path=event.path,
            token=event.rev,
            seconds=change.seconds,
            was_waiting=change.entry.verb == "GRANT",
        )
        self.by_path.setdefault(event.path, []).append(grant)
        self.by_token[event.path, event.rev] = grant

    def _by_session(self) -> dict[tuple[str, str], list[Deed]]:
        """Return all that may have given up a lock, by session and path."""
        found: dict[tuple[str, str], list[Deed]] = {}
        for deed in self._ledger.deeds:
            if deed.is_refused or deed.is_denied:
                continue
            for part in deed.parts():
                if isinstance(part, Unlock | Delete):
                    found.setdefault((deed.session, part.path), []).append(deed)
        return found

    # -- how long a hold lasts -------------------------------------------------------------
    def release(self, grant: Grant) -> Deed | None:
        """Return what may have given up a hold, ``None`` where its client never did."""
        for deed in self._releases.get((grant.deed.session, grant.path), []):
            rev = _rev(deed)
            if rev is None or rev > grant.token:
                return deed
        return None

    def is_over(self, grant: Grant, rev: int) -> bool:
        """Say whether a hold may be over at a revision."""
        end = self._chronicle.ends.get(grant.deed.session)
        if end is not None and end.rev <= rev:
            return True
        release = self.release(grant)
        known = None if release is None else _rev(release)
        return release is not None and (known is None or known <= rev)

    def is_surely_over(self, grant: Grant, rev: int) -> bool:
        """Say whether a hold cannot have lasted until a revision."""
        end = self._chronicle.ends.get(grant.deed.session)
        if end is not None and end.rev <= rev:
            return True
        releases = self._releases.get((grant.deed.session, grant.path), [])
        revs = [one for deed in releases if (one := _rev(deed)) is not None]
        return any(grant.token < one <= rev for one in revs)

    # -- what must be so -------------------------------------------------------------------
    def rivals(self) -> Iterator[str]:
        """Yield the grants that were made while somebody else held the lock."""
        for grants in self.by_path.values():
            for number, later in enumerate(grants):
                for earlier in grants[:number]:
                    if earlier.lock.shared and later.lock.shared:
                        continue
                    if not self.is_over(earlier, later.token):
                        yield (
                            f"locks: token {later.token} of {later.path} was given while"
                            f" {earlier.token} was held: {earlier.deed.describe()}"
                        )
                    elif self._is_within_delay(earlier, later):
                        yield (
                            f"locks: token {later.token} of {later.path} was given within the"
                            f" lock-delay of {earlier.token}: {earlier.deed.describe()}"
                        )

    def _is_within_delay(self, earlier: Grant, later: Grant) -> bool:
        end = self._chronicle.ends.get(earlier.deed.session)
        if end is None or not earlier.lock.delay_ms or self.release(earlier) is not None:
            return False
        return later.seconds < end.seconds + earlier.lock.delay_ms / 1000

    def orders(self) -> Iterator[str]:
        """Yield the grants that overtook somebody who waited."""
        for grants in self.by_path.values():
            waited = [(self._number(one), one) for one in grants if one.was_waiting]
            known = [(number, one) for number, one in waited if number is not None]
            for (first, earlier), (second, later) in pairwise(known):
                if first > second:
                    yield (
                        f"locks: place {first} of {earlier.path} had its turn before {second}:"
                        f" {later.deed.describe()}"
                    )
            for grant in grants:
                if not grant.was_waiting:
                    yield from self._overtaken(grant, [one for _, one in known])

    def _number(self, grant: Grant) -> int | None:
        outcome = grant.deed.outcome
        return outcome.number if isinstance(outcome, Queued) else None

    def _overtaken(self, grant: Grant, waited: list[Grant]) -> Iterator[str]:
        """Yield who had his place before ``grant`` was asked for, and was given the lock later."""
        for one in waited:
            told = one.deed.told
            if told is not None and told < grant.deed.asked and grant.token < one.token:
                yield (
                    f"locks: {grant.deed.describe()} was given the lock before"
                    f" {one.deed.describe()}, who was waiting"
                )

    def strangers(self) -> Iterator[str]:
        """Yield the values that somebody else gave to the node of a lock that was held."""
        for change in self._chronicle.changes:
            event = change.event
            if event.path not in self.by_path or change.entry.verb in (*GRANTS, *RELEASES):
                continue
            deed = self._by_value.get(event.value or b"")
            if deed is None or not any(isinstance(part, Set) for part in deed.parts()):
                continue
            for grant in self.by_path[event.path]:
                if grant.token >= event.rev or grant.deed.session == deed.session:
                    continue
                if not (self.is_over(grant, event.rev) or self._shares(grant, deed, event.rev)):
                    yield f"locks: {event!r} while {grant.token} was held by another"

    def _shares(self, grant: Grant, deed: Deed, rev: int) -> bool:
        """Say whether the writer held the lock, too."""
        return grant.lock.shared and any(
            one.deed.session == deed.session
            and one.token < rev
            and not self.is_surely_over(one, rev - 1)
            for one in self.by_path[grant.path]
        )

    def answers(self) -> Iterator[str]:
        """Yield the tokens that clients were told and that are not those of their locks."""
        told = [(one, one.outcome) for one in self._ledger.deeds]
        told += [(one, result) for one, _, result in self._ledger.waits]
        for deed, outcome in told:
            if not isinstance(outcome, Granted) or not isinstance(deed.write, Lock):
                continue
            grant = self.by_token.get((deed.write.path, outcome.token))
            if grant is None or grant.deed.session != deed.session:
                yield f"locks: token {outcome.token} was told to {deed.describe()}"

    def growing(self) -> Iterator[str]:
        """Yield the tokens that are no greater than one told before they were asked for."""
        for deed in self._ledger.deeds:
            if not isinstance(deed.outcome, Granted) or not isinstance(deed.write, Lock):
                continue
            for grant in self.by_path.get(deed.write.path, []):
                was_told = deed.told is not None and deed.told < grant.deed.asked
                if was_told and grant.token <= deed.outcome.token:
                    yield f"locks: {deed.outcome} was told before: {grant.deed.describe()}"

    def facts(self) -> Iterator[str]:
        """Yield what ``STAT`` told of holders and tokens that never were."""
        for deed in self._ledger.deeds:
            facts = deed.outcome
            if not isinstance(facts, Facts) or facts.path not in self.by_path:
                continue
            known = {one.deed.session for one in self.by_path[facts.path]}
            token = facts.token
            if not known.issuperset(facts.holders) or (
                token is not None and (facts.path, token) not in self.by_token
            ):
                yield f"locks: {deed.describe()}"


def _rev(deed: Deed) -> int | None:
    """Return the revision that a deed is known to have made."""
    outcome = deed.outcome
    return outcome.rev if isinstance(outcome, Written | Committed) else None
