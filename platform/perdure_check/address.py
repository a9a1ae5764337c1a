"""A log's URL, in the forms of the product -> a reader."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from perdure_check.log import Source, Unreadable

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def open_source(url: str) -> tuple[Source, str | None]:
    """The reader, and the namespace that the URL names, if any. Raises Unreadable; a URL's properties may be secrets and are not shown."""
    found = _SCHEME.fullmatch(url.strip())
    scheme, rest = (found[1].lower(), found[2]) if found else ("kafka", url.strip())
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme == "sqlite" and place.startswith("/") and len(place) > 1:
        from perdure_check.sqlite_log import SqliteLog

        return SqliteLog(Path(unquote(place[1:]))), options.get("namespace")
    if scheme == "kafka":
        from perdure_check.kafka_log import KafkaLog

        servers, _, namespace = place.partition("/")
        properties = _properties(Path(options["config"])) if "config" in options else {}
        properties.update({name[11:]: value for name, value in options.items() if name.startswith("librdkafka.")})
        return KafkaLog(servers, properties), unquote(namespace) or None
    raise Unreadable("this is no address of a log that can be read: use kafka://HOST:PORT[/NAMESPACE] or sqlite:///FILE")


def _properties(place: Path) -> dict[str, str]:
    try:
        lines = place.expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"the file of Kafka properties {place} cannot be read: {error}") from None
    pairs = (line.strip().partition("=") for line in lines if line.strip() and line.strip()[0] not in "#!")
    return {name.strip(): value.strip() for name, _, value in pairs}
