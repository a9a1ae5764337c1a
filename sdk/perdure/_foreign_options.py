"""Options that Temporal's SDK knows and this one does not: which are accepted without effect, and what to use instead of the others.

One table for each call. An option that is honoured one day leaves its table and becomes a parameter.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sized
from dataclasses import dataclass
from typing import Any, TypedDict


@dataclass(frozen=True)
class Foreign:
    """An option without effect here. With `instead` it is refused, unless its value is None, empty, or one that `asks_nothing`."""

    instead: str = ""
    asks_nothing: Any = None

    def is_asked(self, value: Any) -> bool:
        """Whether somebody who gives `value` would miss something."""
        if not self.instead or value is None or (isinstance(value, Sized) and len(value) == 0):
            return False
        return type(value) is not type(self.asks_nothing) or value != self.asks_nothing


class NoOptions(TypedDict):
    """Keywords of a call that has no more; a type checker refuses each, and `sift` says why."""


HARMLESS = Foreign()
"""A hint, a tuning knob or a text for displays: the outcome is the same without it."""

_PRIORITY = Foreign("tasks of a queue are taken in order; give urgent ones a task_queue of their own")
_SEARCH_ATTRIBUTES = Foreign("there are no search attributes; put values into memo, and find workflows by type, id, status and times")
_VERSIONING = Foreign("there is no versioning by build; change code under running workflows with workflow.patched()")
_INTERCEPTORS = Foreign("there are no interceptors; calls, workflows and activities are traced with OpenTelemetry (OTEL_* variables)")
_PLUGINS = Foreign("there are no plugins; give their workflows, activities and data converter directly")
_NEXUS = Foreign("there is no Nexus; start the other workflow with a client, from an activity")
_RATE = Foreign("there is no limit of the rate; bound what runs at once with max_concurrent_activities")
_SANDBOX = Foreign("workflow code is not imported again: what it must not touch is refused while it runs. Leave the runner out")

START = {
    "cron_schedule": Foreign("there is no cron; let the workflow sleep and continue as new, or start it from a cron job"),
    "search_attributes": _SEARCH_ATTRIBUTES,
    "static_summary": HARMLESS,
    "static_details": HARMLESS,
    "rpc_metadata": HARMLESS,
    "request_eager_start": HARMLESS,
    "priority": _PRIORITY,
    "versioning_override": _VERSIONING,
}
"""Of Client.start_workflow and execute_workflow."""

CONNECT = {
    "api_key": Foreign("the log is reached without one; its user and password belong into the URL or its properties (deploy/SECURITY.md)"),
    "plugins": _PLUGINS,
    "interceptors": _INTERCEPTORS,
    "default_workflow_query_reject_condition": Foreign("give reject_condition to each query"),
    "tls": Foreign("certificates and protocol of a Kafka cluster belong into the URL or its properties (deploy/SECURITY.md)", False),
    "retry_config": HARMLESS,
    "keep_alive_config": HARMLESS,
    "rpc_metadata": HARMLESS,
    "lazy": Foreign("a client connects when it is made; call connect where it is needed", False),
    "runtime": Foreign("metrics and traces are switched on with the OTEL_* variables"),
    "http_connect_proxy_config": Foreign("the log is not reached over HTTP; give an address that can be reached"),
    "dns_load_balancing_config": HARMLESS,
    "grpc_compression": HARMLESS,
    "payload_limits": HARMLESS,
    "header_codec_behavior": Foreign("there are no codecs; write and read values with a payload converter of your own"),
}
"""Of Client.connect."""

WORKER = {
    "nexus_service_handlers": _NEXUS,
    "nexus_task_executor": HARMLESS,
    "workflow_task_executor": HARMLESS,
    "workflow_runner": _SANDBOX,
    "unsandboxed_workflow_runner": _SANDBOX,
    "interceptors": _INTERCEPTORS,
    "plugins": _PLUGINS,
    "shared_state_manager": Foreign("activities do not run in pools of processes; start processes from the activity"),
    "max_concurrent_workflow_tasks": HARMLESS,
    "max_concurrent_local_activities": HARMLESS,
    "max_concurrent_nexus_tasks": HARMLESS,
    "tuner": Foreign("there are no slot suppliers; give max_concurrent_activities"),
    "workflow_task_poller_behavior": HARMLESS,
    "activity_task_poller_behavior": HARMLESS,
    "nexus_task_poller_behavior": HARMLESS,
    "max_concurrent_workflow_task_polls": HARMLESS,
    "max_concurrent_activity_task_polls": HARMLESS,
    "nonsticky_to_sticky_poll_ratio": HARMLESS,
    "sticky_queue_schedule_to_start_timeout": HARMLESS,
    "no_remote_activities": Foreign("there are no local activities; leave activities out", False),
    "max_heartbeat_throttle_interval": HARMLESS,
    "default_heartbeat_throttle_interval": HARMLESS,
    "max_activities_per_second": _RATE,
    "max_task_queue_activities_per_second": _RATE,
    "max_eager_activity_reservations_per_workflow_task": HARMLESS,
    "disable_eager_activity_execution": HARMLESS,
    "disable_safe_workflow_eviction": HARMLESS,
    "patch_activation_callback": Foreign(
        "a patch is taken by every run that reaches it first with the new code; deploy the code when it is"
    ),
    "disable_payload_error_limit": HARMLESS,
    "max_workflow_task_external_storage_concurrency": HARMLESS,
    "build_id": HARMLESS,
    "use_worker_versioning": Foreign(_VERSIONING.instead, False),
    "deployment_config": _VERSIONING,
}
"""Of Worker."""

ACTIVITY = {
    "summary": HARMLESS,
    "priority": _PRIORITY,
    "versioning_intent": _VERSIONING,
}
"""Of workflow.start_activity, execute_activity and their variants."""

CONTINUE_AS_NEW = {
    "search_attributes": _SEARCH_ATTRIBUTES,
    "versioning_intent": _VERSIONING,
    "initial_versioning_behavior": _VERSIONING,
}
"""Of workflow.continue_as_new."""

DEFINITION = {"versioning_behavior": Foreign(_VERSIONING.instead, 0)}
"""Of workflow.defn."""

CONVERTER = {
    "payload_codec": Foreign("there are no codecs; compress and encrypt in a payload converter of your own"),
    "external_storage": Foreign("there is no external storage; store large data elsewhere and pass a reference"),
}
"""Of DataConverter."""


def sift(call: str, options: Mapping[str, Any], foreign: Mapping[str, Foreign], own: Collection[str] = ()) -> dict[str, Any]:
    """The options that are the call's own. Raises TypeError that names one that nobody knows, or that cannot be honoured."""
    for name, value in options.items():
        if name in own:
            continue
        if name not in foreign:
            close = difflib.get_close_matches(name, own, 1)
            raise TypeError(f"{call} has no option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        if foreign[name].is_asked(value):
            raise TypeError(f"{call}: the option {name} has no effect in Perdure, so it is refused: {foreign[name].instead}")
    return {name: value for name, value in options.items() if name in own}
