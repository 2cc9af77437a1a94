"""What a node is told, as one frozen value: parsed, checked, and nothing touched.

``parse`` takes what the command line gave and what a TOML file gave, by the names of
`coord.node.options`; the command line wins, option by option. Everything that can be
known to be wrong without opening a port or a file is refused here, with one line that
says what and what to do.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from coord import limits
from coord.names import split_address, valid_address, valid_node_name
from coord.node.options import BY_NAME, Kind, Option

Given: TypeAlias = Mapping[str, object]
"""Options by name, each with its value: text, number, truth, or a list of texts."""

LINE_PORT: Final = 8046
WEB_PORT: Final = 8056
LISTEN: Final = f"tcp:{LINE_PORT}:interface=127.0.0.1"
WEB: Final = f"tcp:{WEB_PORT}:interface=127.0.0.1"
CLIENT_AUTHORITY: Final = "clientCA"
"""The word of an ``ssl:`` endpoint for whose certificates its clients have."""
NO_PEERS: Final = "localhost:0"
"""The address of a node that listens to no peer."""
LEASE_SECONDS_MIN: Final = 6 * limits.TICK_SECONDS
"""Several beats fit into a lease, and a beat is not shorter than a tick."""
LEASE_SECONDS_MAX: Final = 60.0
REQUEST_SECONDS_MAX: Final = 3600.0
COUNT_MAX: Final = 1 << 62

_CLUSTER: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Refused(Exception):
    """A node cannot start; the text is one line that says what is wrong and what to do."""


@attrs.frozen(kw_only=True)
class Settings:
    """Everything a node is told from outside.

    ``peers`` holds name and ``host:port`` of every node of the cluster, this one
    included, sorted by name; where the node is to ``join`` a cluster that runs, or to be an
    ``observer`` in it, of some of them and itself. ``listen``, ``peer_listen`` and ``web`` are
    Twisted endpoint strings, and so is ``console``; ``peer_listen`` and the three files of mutual
    TLS are there together or not at all, ``console`` and one of its files of keys likewise. The
    files of secrets are not opened here (`coord.frontends.secrets`).
    """

    node: str = "n1"
    cluster: str = "coord"
    data: Path = Path("coord-data")
    listen: tuple[str, ...] = (LISTEN,)
    peer_listen: str | None = None
    peers: tuple[tuple[str, str], ...] = (("n1", NO_PEERS),)
    join: bool = False
    observer: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    web: str | None = WEB
    console: str | None = None
    authorized_keys: Path | None = None
    console_readers: Path | None = None
    read_secret: Path | None = None
    write_secret: Path | None = None
    admin_secret: Path | None = None
    open: bool = False
    leases: bool = True
    lease_seconds: float = limits.LEASE_SECONDS
    request_seconds: float = limits.REQUEST_SECONDS
    history_revisions: int = limits.HISTORY_REVISIONS
    log_bytes_kept: int = limits.LOG_BYTES_KEPT
    image_every_bytes: int = limits.IMAGE_EVERY_BYTES
    line_bytes_max: int = limits.LINE_BYTES_MAX
    value_bytes_max: int = limits.VALUE_BYTES_MAX
    connections_max: int = limits.CONNECTIONS_MAX

    @property
    def is_joining(self) -> bool:
        """Whether the cluster runs already, and is to admit this node."""
        return self.join or self.observer

    @property
    def has_secrets(self) -> bool:
        """Whether clients are asked who they are."""
        return any((self.read_secret, self.write_secret, self.admin_secret))

    def may_be_exposed(self, listen: str) -> bool:
        """Say whether others than this machine may reach an endpoint of the line protocol."""
        return self.open or self.has_secrets or asks_for_certificates(listen)


def read_toml(path: Path) -> dict[str, object]:
    """Return the options in a TOML file, its relative paths made relative to the file.

    Raises `Refused` where the file cannot be read, is no TOML, or has a key that no
    option has.
    """
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is not TOML: {error}") from None
    return {key: _from_file(path, key, value) for key, value in given.items()}


def _from_file(path: Path, key: str, value: object) -> object:
    option = BY_NAME.get(key)
    if option is None:
        raise Refused(f"{path} has the unknown key {key!r}: remove it or correct its name")
    if option.kind is Kind.FILE and isinstance(value, str):
        return str(path.absolute().parent / value)
    return value


def parse(given: Given) -> Settings:
    """Return the settings that ``given`` asks for; raises `Refused`."""
    words = {name: _value(BY_NAME[name], value) for name, value in given.items()}
    _check_later(words)
    settings = Settings(**_fields(words))
    _check_bounds(settings)
    _check_cluster(settings)
    _check_joining(settings)
    _check_console(settings)
    _check_exposure(settings)
    return settings


def _value(option: Option, value: object) -> object:
    """Return one option's value, checked; a list of texts where it is repeatable."""
    if option.many:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
            raise Refused(f"{option.name} wants an array of texts, not {value!r}")
        return [_text(option, one) for one in texts]
    match option.kind:
        case Kind.FLAG:
            if not isinstance(value, bool):
                raise Refused(f"{option.name} wants true or false, not {value!r}")
            return value
        case Kind.TEXT | Kind.FILE:
            return _text(option, value)
        case Kind.SECONDS | Kind.COUNT:
            return _number(option, value)


def _text(option: Option, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Refused(f"{option.name} wants a text, not {value!r}")
    if any(ord(letter) < ord(" ") for letter in value):
        raise Refused(f"{option.name} has a control character in it: {value!r}")
    return value


def _number(option: Option, value: object) -> float | int:
    whole = option.kind is Kind.COUNT
    wanted = "a whole number" if whole else "a number of seconds"
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        if whole and isinstance(value, float):
            raise ValueError
        number = int(value) if whole else float(value)
        if not 0 <= number <= COUNT_MAX:
            raise ValueError
    except (ValueError, OverflowError):
        raise Refused(f"{option.name} wants {wanted}, not {value!r}") from None
    return number


def _check_later(words: Given) -> None:
    """Refuse what is promised for a later version: silence would look like consent."""
    for name, value in words.items():
        if BY_NAME[name].later and value is not False:
            raise Refused(f"--{name} is not in this version: leave it out")


def _fields(words: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of `Settings` that the options given fill."""
    fields: dict[str, Any] = {}
    for name, value in words.items():
        if BY_NAME[name].later or name in ("peer", "no-leases", "web"):
            continue
        fields[_RENAMED.get(name, name.replace("-", "_"))] = (
            Path(value) if BY_NAME[name].kind is Kind.FILE and isinstance(value, str) else value
        )
    if isinstance(listen := words.get("listen"), list):
        fields["listen"] = tuple(listen)
    fields["leases"] = not words.get("no-leases", False)
    if "web" in words:
        fields["web"] = None if words["web"] == "none" else words["web"]
    if isinstance(console := words.get("console"), str):
        fields["console"] = None if console == "none" else on_loopback(console)
    fields["peers"] = _peers(words)
    return fields


_RENAMED: Final = {"lease": "lease_seconds", "request-timeout": "request_seconds"}


def _peers(words: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return every node of the cluster with its address, this one among them."""
    node = check_name("node", str(words.get("node", "n1")))
    texts = words.get("peer", [])
    assert isinstance(texts, list)
    peers: dict[str, str] = {}
    for text in texts:
        name, address = parse_member(text)
        if name in peers:
            raise Refused(f"peer {name} is named twice: name each node once")
        peers[name] = address
    if node not in peers:
        peers[node] = _own_address(words.get("peer-listen"))
    return tuple(sorted(peers.items()))


def _own_address(listen: object) -> str:
    """Return where others reach a node that its list of peers leaves out."""
    if not isinstance(listen, str):
        return NO_PEERS
    kind, port, options = split_endpoint(listen)
    if kind not in ("tcp", "tcp6") or not port.isdigit():
        return NO_PEERS
    host = options.get("interface") or "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_member(text: str) -> tuple[str, str]:
    """Return name and ``host:port`` of ``NAME=HOST:PORT``; raises `Refused`."""
    name, equals, address = text.partition("=")
    if not equals or not valid_address(address):
        raise Refused(f"peer {text!r} is not NAME=HOST:PORT, such as n1=10.0.0.1:8076")
    return check_name("peer", name), address


def check_name(option: str, name: str) -> str:
    """Return ``name`` if a node may be called so; raises `Refused`."""
    if not valid_node_name(name):
        raise Refused(
            f"{option} {name!r} is no name for a node: take up to 63 of a-z, 0-9 and -,"
            " no - at either end, and not only digits"
        )
    return name


def check_cluster_name(name: str) -> str:
    """Return ``name`` if a cluster may be called so; raises `Refused`."""
    if _CLUSTER.fullmatch(name) is None:
        raise Refused(
            f"cluster {name!r} is no name for a cluster: take up to 63 letters, digits, dots,"
            " hyphens and underscores, a letter or digit at both ends"
        )
    return name


def _check_bounds(settings: Settings) -> None:
    """Hold the limits against each other, as `coord.limits` does with its own."""
    room = limits.VALUE_OF_SLOT_BYTES_MAX - limits.BATCH_BYTES_SOFT - settings.line_bytes_max - 1
    for option, value, low, high in (
        ("line-bytes-max", settings.line_bytes_max, 4 * limits.PATH_BYTES_MAX, limits.MIB),
        ("value-bytes-max", settings.value_bytes_max, 1, room),
        ("connections-max", settings.connections_max, 1, 1_000_000),
        ("history-revisions", settings.history_revisions, 1, COUNT_MAX),
        ("log-bytes-kept", settings.log_bytes_kept, limits.MIB, COUNT_MAX),
        ("image-every-bytes", settings.image_every_bytes, limits.MIB, COUNT_MAX),
        ("lease", settings.lease_seconds, LEASE_SECONDS_MIN, LEASE_SECONDS_MAX),
        ("request-timeout", settings.request_seconds, limits.RETRY_SECONDS, REQUEST_SECONDS_MAX),
    ):
        if not low <= value <= high:
            raise Refused(f"{option} {value} is out of bounds: take one from {low} to {high}")


def _check_cluster(settings: Settings) -> None:
    """See to it that a node with peers has all that it takes to speak to them."""
    check_cluster_name(settings.cluster)
    files = (settings.ca, settings.certificate, settings.key)
    if settings.peer_listen is None:
        if len(settings.peers) > 1:
            raise Refused("peers are named but no --peer-listen: say where they reach this node")
        if any(files):
            raise Refused("--ca, --certificate and --key are for --peer-listen: give it, too")
    elif not all(files):
        raise Refused("--peer-listen wants --ca, --certificate and --key: see coord init")


def _check_joining(settings: Settings) -> None:
    """See to it that a node which joins a cluster can be reached by it, and reach it."""
    if not settings.is_joining:
        return
    option = "--observer" if settings.observer else "--join"
    if len(settings.peers) < 2:
        raise Refused(f"{option} wants --peer NAME=HOST:PORT of some nodes of the cluster")
    if settings.observer and not _is_reached(settings):
        own = f"--peer {settings.node}=HOST:PORT"
        raise Refused(f"{option} wants {own}, too: where the others reach this node")


def _is_reached(settings: Settings) -> bool:
    """Say whether the other nodes can reach this one, as far as its address tells."""
    hosts = {name: split_address(where) for name, where in settings.peers}
    host, port = hosts.pop(settings.node)
    if not port or host in ("0.0.0.0", "::"):  # what it listens on, not where
        return False
    return not is_loopback(host) or all(is_loopback(one) for one, _ in hosts.values())


def _check_console(settings: Settings) -> None:
    """See to it that a console has keys, and keys a console."""
    keys = settings.authorized_keys or settings.console_readers
    if settings.console is not None and keys is None:
        raise Refused("--console wants --authorized-keys: there are no passwords")
    if settings.console is None and keys is not None:
        raise Refused("--authorized-keys and --console-readers are for --console: give it, too")


def on_loopback(endpoint: str) -> str:
    """Return an endpoint that this machine alone reaches, unless it names an interface."""
    kind, _, options = split_endpoint(endpoint)
    if kind not in ("tcp", "tcp6") or "interface" in options:
        return endpoint
    return f"{endpoint}:interface=" + ("127.0.0.1" if kind == "tcp" else r"\:\:1")


_KINDS: Final = ("tcp", "tcp6", "ssl", "unix", "systemd")
"""Endpoints of which it is known who reaches them."""


def _check_exposure(settings: Settings) -> None:
    """Refuse a listener that strangers can reach, unless it was said to be meant."""
    for endpoint in settings.listen:
        if not settings.may_be_exposed(endpoint):
            _check_local("listen", endpoint, "--read-secret and its kin, ssl: with clientCA=, ")
    if settings.web and not settings.open and not settings.has_secrets:
        _check_local("web", settings.web, "--read-secret and its kin, ")


def _check_local(option: str, endpoint: str, otherwise: str) -> None:
    """Raise `Refused` where others than this machine reach an endpoint."""
    if split_endpoint(endpoint)[0] not in _KINDS:
        raise Refused(
            f"--{option} {endpoint} begins with none of tcp:, tcp6:, ssl:, unix:, systemd: and"
            " may be reached from elsewhere: take one of these, or --open if that is meant"
        )
    if not is_local(endpoint):
        raise Refused(
            f"--{option} {endpoint} can be reached from elsewhere and nobody there is asked who"
            f" they are: add :interface=127.0.0.1, {otherwise}or --open if that is meant"
        )


def asks_for_certificates(endpoint: str) -> bool:
    """Say whether an endpoint knows its clients by certificates (`coord.node.certified`)."""
    kind, _, options = split_endpoint(endpoint)
    return kind == "ssl" and CLIENT_AUTHORITY in options


def is_local(endpoint: str) -> bool:
    """Say whether only this machine reaches an endpoint, as far as its text tells.

    What ``systemd:`` hands over is looked at once it is there (`coord.node.doors`).
    """
    kind, _, options = split_endpoint(endpoint)
    if kind in ("unix", "systemd"):
        return True
    return is_loopback(options.get("interface", ""))


def is_loopback(host: str) -> bool:
    """Say whether ``host`` is an address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_endpoint(endpoint: str) -> tuple[str, str, dict[str, str]]:
    r"""Return kind, first argument and named arguments of a Twisted endpoint string.

    Arguments are divided by ``:``; a backslash takes the next character as it is.
    """
    parts = [""]
    letters = iter(endpoint)
    for letter in letters:
        if letter == "\\":
            parts[-1] += next(letters, "")
        elif letter == ":":
            parts.append("")
        else:
            parts[-1] += letter
    named = dict(part.split("=", 1) for part in parts[1:] if "=" in part)
    first = next((part for part in parts[1:] if "=" not in part), named.get("port", ""))
    return parts[0], first, named
