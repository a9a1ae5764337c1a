"""The tracer provider that somebody set up, if anybody did. The one question that every span asks first, so it is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_UNKNOWN = object()


def current_provider() -> trace.TracerProvider | None:
    """The global provider, also of another vendor; None where there is none.

    `get_tracer_provider` looks at the environment each time, which costs more than everything else here; this looks where it looks first.
    """
    found: object = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
    if found is _UNKNOWN:  # another release of the API: ask it in the slow way
        found = trace.get_tracer_provider()
        return None if isinstance(found, trace.ProxyTracerProvider) else trace.get_tracer_provider()
    return found if isinstance(found, trace.TracerProvider) else None


def exporting_provider() -> TracerProvider | None:
    """The same if it is the SDK's and not disabled: it alone takes spans that have their ids already."""
    found = current_provider()
    if found is None:
        return None
    from opentelemetry.sdk.trace import TracerProvider  # who never traces need not wait for this import

    return found if isinstance(found, TracerProvider) and not getattr(found, "_disabled", False) else None
