"""Secrets that open a node: read from files at its start, and kept as hashes only.

A file has one secret on each line. ``name = secret`` says whose it is; a secret alone is called
by its level: ``read``, ``write``, ``admin``. Empty lines and those that begin with ``#`` say
nothing. So a secret is replaced without a gap: the new one stands beside the old one, under the
same name, until nobody uses the old one any more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
from twisted.logger import Logger

from coord.commands import Level
from coord.frontends.gate import ANONYMOUS

SECRETS_BYTES_MAX: Final = 256 * 1024
SECRETS_MAX: Final = 1024
"""Secrets of one node: each that is shown is compared with all of them."""
_NAMED: Final = re.compile(rb"(\S+)[ \t]+=[ \t]+(\S.*)")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")
_log = Logger()


class SecretsError(Exception):
    """These secrets cannot be used; the text is one line: what is wrong and what to do."""


@attrs.frozen
class Secret:
    """One secret: whose it is, what it allows, and its hash."""

    name: str
    level: Level
    digest: bytes = attrs.field(repr=False)


class Secrets:
    """All secrets of a node.

    :raises SecretsError: where one secret stands twice, or one name has two levels.
    """

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        _check_distinct(secrets)
        self._secrets = tuple(secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    @property
    def stranger_level(self) -> Level | None:
        """What who shows no secret may do; None where nobody needs one."""
        levels = {secret.level for secret in self._secrets}
        if not levels:
            return None
        return Level(min(levels) - 1)

    def find(self, shown: bytes) -> Secret | None:
        """Return the secret that ``shown`` is, in a time that does not tell how close it came."""
        digest = _digest(shown)
        found: Secret | None = None
        for secret in self._secrets:
            is_it = hmac.compare_digest(secret.digest, digest)
            found = secret if is_it else found
        return found


def read_secrets(files: Mapping[Level, Path]) -> Secrets:
    """Return the secrets in the files that a node was given for its levels.

    :raises SecretsError: where one cannot be read, or says what makes no sense.
    """
    found: list[Secret] = []
    for level, path in files.items():
        try:
            secrets = parse_secrets(_read(path), level)
        except SecretsError as error:
            raise SecretsError(f"--{level.name.lower()}-secret {path}: {error}") from None
        found += secrets
    return Secrets(found)


def parse_secrets(content: bytes, level: Level) -> list[Secret]:
    """Return the secrets in a file; raise `SecretsError`, which names a line, not what it says."""
    found = []
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip()
        if line and not line.startswith(b"#"):
            try:
                found.append(_parse_line(line, level))
            except SecretsError as error:
                raise SecretsError(f"line {number}: {error}") from None
    if not found:
        raise SecretsError("it holds no secret: write one into it, or leave the option out")
    if len(found) > SECRETS_MAX:
        raise SecretsError(f"it holds more than {SECRETS_MAX} secrets: use fewer")
    return found


def _parse_line(line: bytes, level: Level) -> Secret:
    named = _NAMED.fullmatch(line)
    if named is not None:
        return Secret(_name(named[1]), level, _digest(named[2]))
    if b"=" in line.rstrip(b"="):  # but not the padding of base64
        raise SecretsError("write NAME = SECRET, with a space on both sides of the =")
    return Secret(level.name.lower(), level, _digest(line))


def _name(word: bytes) -> str:
    name = word.decode("utf-8", "replace")
    if _NAME.fullmatch(name) is None or name == ANONYMOUS:
        raise SecretsError(
            "the word in front of = is no name: take up to 64 letters and digits, with . _ @ + -"
            f" between them, and not {ANONYMOUS}"
        )
    return name


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SECRETS_BYTES_MAX + 1)
        mode = path.stat().st_mode
    except OSError as error:
        raise SecretsError(f"it cannot be read: {error.strerror}") from None
    if len(content) > SECRETS_BYTES_MAX:
        raise SecretsError("it is too long to be a file of secrets")
    if mode & 0o077:
        _log.warn("{path} can be read by others than its owner: chmod 600 it", path=path)
    return content


def _check_distinct(secrets: Sequence[Secret]) -> None:
    """Raise `SecretsError` where it could not be told who shows a secret, or what they may."""
    owners: dict[bytes, Secret] = {}
    levels: dict[str, Level] = {}
    for secret in secrets:
        other = owners.setdefault(secret.digest, secret)
        if other is not secret:
            raise SecretsError(
                f"{_whose(other)} and {_whose(secret)} are one and the same secret: nobody could"
                " tell who shows it, so give each its own"
            )
        if levels.setdefault(secret.name, secret.level) != secret.level:
            raise SecretsError(
                f"{secret.name} has secrets of two levels, {levels[secret.name].name.lower()} and"
                f" {secret.level.name.lower()}: rules know people by name, so use two names"
            )


def _whose(secret: Secret) -> str:
    return f"{secret.name} (--{secret.level.name.lower()}-secret)"


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
