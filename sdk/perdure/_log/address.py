"""Addresses of logs: a URL -> the adapter, opened. The one list of what a URL may look like."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from perdure._log.errors import LogMisconfigured
from perdure._log.port import Log
from perdure_schemas.topics import NAMESPACE_CHARACTERS_MAX

FORMS = """kafka://HOST:PORT[,HOST:PORT][/NAMESPACE]  Kafka; HOST:PORT alone means the same
    ?librdkafka.PROPERTY=VALUE                sets a property of the Kafka client
    ?config=FILE                              reads properties from a file, a line each: PROPERTY=VALUE (the place for passwords)
  sqlite:///FILE[?namespace=NAMESPACE]        a file, made if absent; a relative path after three slashes, an absolute one after four
  memory://NAME[?namespace=NAMESPACE]         shared inside this process and gone with it"""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@?#\[\]]+):([0-9]{1,5})")
_PROPERTY_PREFIX = "librdkafka."


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Brokers to begin with, and properties of the client as the user gave them. They may be secrets and are not shown."""

    servers: str
    namespace: str | None = None
    properties: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A file."""

    path: Path
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryAddress:
    """A name within this process."""

    name: str
    namespace: str | None = None


Address = KafkaAddress | SqliteAddress | MemoryAddress


def parse_address(url: str) -> Address:
    """What a URL means. Raises LogMisconfigured, without showing what may be a password."""
    match = _SCHEME.fullmatch(url.strip())
    scheme, rest = (match[1].lower(), match[2]) if match else ("kafka", url.strip())
    if "#" in rest and scheme != "sqlite":
        raise _wrong("a '#' has no meaning in it; write %23 for one in a value")
    place, _, query = rest.partition("?")
    if scheme == "kafka":
        return _kafka(place, query, has_scheme=match is not None)
    options = _options(query, {"namespace"})
    namespace = _namespace(options.get("namespace"))
    if scheme == "sqlite":
        return SqliteAddress(_file(place), namespace)
    if scheme == "memory":
        name = unquote(place)
        if "/" in name:
            raise _wrong(f"a name of a memory log has no '/', and {name!r} has one")
        return MemoryAddress(name, namespace)
    raise _wrong(f"there is no kind of log called {scheme!r}")


def open_log(url: str) -> tuple[Log, str | None]:
    """The log at `url`, and the namespace if the URL names one.

    Raises LogMisconfigured, LogDamaged, LogUnavailable; a Kafka cluster is not contacted yet.
    """
    # An adapter, and the library that it needs, is imported when it is used.
    match parse_address(url):
        case KafkaAddress(servers, namespace, properties):
            from perdure._log.kafka import KafkaLog

            return KafkaLog(servers, properties), namespace
        case SqliteAddress(path, namespace):
            from perdure._log.sqlite import SqliteLog

            return SqliteLog(path), namespace
        case MemoryAddress(name, namespace):
            from perdure._log.memory import MemoryLog, shared_medium

            return MemoryLog(shared_medium(name)), namespace


def _kafka(place: str, query: str, *, has_scheme: bool) -> KafkaAddress:
    servers, _, namespace = place.partition("/")
    if "@" in place or "@" in query.partition("=")[0]:  # a password may hold '/' or '?', so that its end seems to be something else
        raise _wrong(
            "a user and password do not belong into it; put sasl.username and sasl.password into a file, and name that: ?config=FILE"
        )
    for server in servers.split(","):
        found = _SERVER.fullmatch(server)
        if found is None or not 0 < int(found[2]) < 65536:
            what = "HOST:PORT was expected" if has_scheme else "it has no scheme, and HOST:PORT was expected"
            raise _wrong(f"{what}, found {server!r}")
    options = _options(query, {"config"}, _PROPERTY_PREFIX)
    properties = _read_properties(Path(options.pop("config"))) if "config" in options else {}
    properties.update({name.removeprefix(_PROPERTY_PREFIX): value for name, value in options.items()})
    return KafkaAddress(servers, _namespace(unquote(namespace) or None), properties)


def _file(place: str) -> Path:
    if not place.startswith("/"):
        raise _wrong(f"sqlite: takes three slashes before the file, as in sqlite:///{place or 'perdure.db'}")
    path = unquote(place[1:])
    if not path or path.endswith("/") or "\0" in path:
        raise _wrong("it names no file")
    return Path(path)


def _options(query: str, known: set[str], prefix: str | None = None) -> dict[str, str]:
    """The options behind the '?'. Messages name them without their values."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise _wrong("behind the '?' it takes NAME=VALUE, joined by '&'") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known and not (prefix and name.startswith(prefix) and name != prefix):
            accepted = ", ".join(sorted(known) + ([f"{prefix}PROPERTY"] if prefix else []))
            raise _wrong(f"there is no option {name!r} for it, only {accepted}")
        if name in options:
            raise _wrong(f"the option {name!r} is given twice")
        if not value:
            raise _wrong(f"the option {name!r} has no value")
        options[name] = value
    return options


def _namespace(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{NAMESPACE_CHARACTERS_MAX}}}", name):
        raise _wrong(f"a namespace is made of up to {NAMESPACE_CHARACTERS_MAX} letters, digits, '.', '_' and '-', and {name!r} is not")
    return name


def _read_properties(path: Path) -> dict[str, str]:
    """A Java properties file, simple form: NAME=VALUE, comments with '#' or '!'."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogMisconfigured(f"the file of Kafka properties {path} cannot be read: {error}") from None
    properties = {}
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#!":
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not name.strip():
            raise LogMisconfigured(f"{path}, line {number}: PROPERTY=VALUE was expected")
        properties[name.strip()] = value.strip()
    return properties


def _wrong(what: str) -> LogMisconfigured:
    return LogMisconfigured(f"this is no address of a log: {what}. Accepted are\n  {FORMS}")
