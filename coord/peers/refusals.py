"""Why a connection did not become a link, in words for a person, and not too often.

Both ends of a refused connection write one line: who, what, and what to do about it. With
TLS 1.3 the dialler believes the handshake to be over before the listener has looked at its
certificate, so the listener's verdict reaches it as an alert a little later; `explain` tells
the alert of the other side ("it refused our certificate") from our own verdict ("its
certificate ...").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs
from OpenSSL import SSL
from twisted.internet import error
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord.replicator.interfaces import Unfit

REPEAT_SECONDS: Final = 60.0
"""The same complaint about the same peer is written at most this often."""
COMPLAINTS_MAX: Final = 256
"""Complaints that are remembered; past it the oldest is forgotten."""
TEXT_LENGTH_MAX: Final = 300
"""How much of another node's text is put into our log."""


@attrs.frozen
class Refused(Exception):
    """This connection cannot be, or remain, a link: what is wrong, and what to do.

    ``unfit`` says it to the other node's program, where the node itself is not wanted.
    """

    what: str
    advice: str
    unfit: Unfit | None = None

    @property
    def text(self) -> str:
        """Both, as one line; what came from outside is made printable and short."""
        line = f"{self.what}; {self.advice}" if self.advice else self.what
        return "".join(one if one.isprintable() else "?" for one in line[:TEXT_LENGTH_MAX])


ONE_RELEASE: Final = "run the same release on both nodes"
_ONE_CA: Final = "give all nodes certificates of one CA"
_ONE_PORT: Final = "only nodes of the cluster belong on this port"
_RENEW: Final = "issue a new certificate"
_CLOCKS: Final = "set the clocks of both machines right"

SPARE: Final = Refused("there is a link already", "nothing to do")
"""Both nodes dialled: no reason for a line in a log."""
SILENT: Final = Refused(
    "it closed the connection without a word",
    "its log says why, unless it was just stopped",
)

_DISTRUSTED: Final = {
    2: Refused("its certificate is not signed by our CA", _ONE_CA),
    7: Refused("its certificate is not signed by our CA", _ONE_CA),
    9: Refused("its certificate is not valid yet", _CLOCKS),
    10: Refused("its certificate has expired", f"{_RENEW} for it"),
    18: Refused("its certificate is not signed by our CA", _ONE_CA),
    19: Refused("its certificate is not signed by our CA", _ONE_CA),
    20: Refused("its certificate is not signed by our CA", _ONE_CA),
    21: Refused("its certificate is not signed by our CA", _ONE_CA),
    26: Refused("its certificate is not meant for this use", f"{_RENEW} for it"),
}
"""What OpenSSL's verdicts (X509_V_ERR_...) on the other's certificate mean to a person."""

_WORDS: Final = (
    ("alert unknown ca", Refused("it refused our certificate: not signed by its CA", _ONE_CA)),
    ("alert decrypt error", Refused("it refused our certificate: not signed by its CA", _ONE_CA)),
    ("alert certificate expired", Refused("it refused our certificate: expired", _RENEW)),
    ("alert bad certificate", Refused("it refused our certificate as not valid", _CLOCKS)),
    ("alert certificate required", Refused("it wants a certificate of ours", _ONE_CA)),
    ("alert unsupported certificate", Refused("it refused our certificate: its use", _RENEW)),
    ("alert", Refused("it refused our TLS handshake", "its log says why")),
    ("not return a certificate", Refused("it showed no certificate", _ONE_CA)),
    ("unsupported protocol", Refused("it speaks TLS older than 1.2", "upgrade its OpenSSL")),
    ("no shared cipher", Refused("it knows none of our ciphers", "upgrade its OpenSSL")),
    ("wrong version number", Refused("it does not speak TLS", _ONE_PORT)),
    ("http request", Refused("it does not speak TLS but HTTP", _ONE_PORT)),
    ("https proxy request", Refused("it does not speak TLS but HTTP", _ONE_PORT)),
    ("packet length too long", Refused("it does not speak TLS", _ONE_PORT)),
    ("unexpected message", Refused("it does not speak TLS", _ONE_PORT)),
    ("record layer failure", Refused("it does not speak TLS", _ONE_PORT)),
)
"""What OpenSSL's words mean to a person; the first that is found counts."""


def explain(failure: Failure, verdict: int | None) -> Refused:
    """Return why a connection ended that was no link yet.

    ``verdict`` is what OpenSSL said of the other's certificate (X509_V_ERR_...), ``None``
    where it found no fault or never saw one.
    """
    if verdict is not None:
        fallback = Refused(f"its certificate did not verify (code {verdict})", _ONE_CA)
        return _DISTRUSTED.get(verdict, fallback)
    if not failure.check(SSL.Error):
        if failure.check(error.ConnectionDone, error.ConnectionLost):
            return SILENT
        return Refused(failure.getErrorMessage(), "trying again")
    problem = failure.value
    assert problem is not None, "a failure holds what was raised"
    words = _openssl_words(problem)
    for sign, meaning in _WORDS:
        if sign in words:
            return meaning
    return Refused(f"TLS failed ({words or type(problem).__name__})", _ONE_PORT)


def unreachable(failure: Failure) -> Refused:
    """Return why no connection could be made at all."""
    if failure.check(error.ConnectionRefusedError):
        what = "nobody listens there"
    elif failure.check(error.TimeoutError):
        what = "no answer from there"
    else:
        what = failure.getErrorMessage() or type(failure.value).__name__
    return Refused(what, "trying again until it is there")


def _openssl_words(problem: BaseException) -> str:
    """Return the reasons in an error of pyOpenSSL: a list of triples, or something else."""
    (queue, *_) = problem.args or ([],)
    if not isinstance(queue, list):
        return " ".join(map(str, problem.args)).lower()
    return ", ".join(str(one[-1]) for one in queue).lower()


class Complaints:
    """Writes lines about peers, and about strangers, but not the same one time and again."""

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._written: OrderedDict[tuple[str, str], float] = OrderedDict()

    def about(self, who: str, where: str, refused: Refused, *, was_up: bool = False) -> None:
        """Write one line about ``who``, unless the same was written within the minute.

        ``who`` is a peer, or the host of a stranger; ``where`` its address; ``was_up`` says
        that there was a link, which is lost.
        """
        if SPARE.what in refused.what:
            return
        now = self._seconds()
        key = (who, refused.what)
        written = self._written.get(key)
        if written is not None and now - written < REPEAT_SECONDS:
            return
        self._written[key] = now
        self._written.move_to_end(key)
        if len(self._written) > COMPLAINTS_MAX:
            self._written.popitem(last=False)
        self._log.warn(
            "{what} {who} ({where}): {why}",
            what="lost the link with" if was_up else "no link with",
            who=who,
            where=where,
            why=refused.text,
        )

    def forget(self, who: str) -> None:
        """Write again whatever is to be said of ``who``: it was well in between."""
        for key in [key for key in self._written if key[0] == who]:
            del self._written[key]
