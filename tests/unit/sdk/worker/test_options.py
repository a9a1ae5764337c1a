"""Options that Temporal's SDK knows: honoured, accepted without effect, or refused by name with what to use instead."""

from __future__ import annotations

import importlib
import inspect
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kit.code import Code, kinds
from perdure import _foreign_options as foreign
from perdure import activity, workflow
from perdure._replay.host import ActivationError
from perdure.client import Client
from perdure.client._client import ConnectOptions
from perdure.client._start import Start, StartOptions
from perdure.worker import Worker
from perdure.worker._worker import WorkerOptions

sys.path.insert(0, str(Path(__file__).parent))
flows: Any = importlib.import_module("option_workflows")

# The parameters of Temporal's Python SDK (semantics.md, section 1).
START = (
    "id task_queue execution_timeout run_timeout task_timeout id_reuse_policy id_conflict_policy retry_policy cron_schedule memo "
    "search_attributes static_summary static_details start_delay start_signal start_signal_args rpc_metadata rpc_timeout "
    "request_eager_start priority versioning_override"
)
CONNECT = (
    "target_host namespace api_key data_converter plugins interceptors default_workflow_query_reject_condition tls retry_config "
    "keep_alive_config rpc_metadata identity lazy runtime http_connect_proxy_config dns_load_balancing_config grpc_compression "
    "payload_limits header_codec_behavior"
)
WORKER = (
    "client task_queue activities workflows nexus_service_handlers activity_executor workflow_task_executor nexus_task_executor "
    "workflow_runner unsandboxed_workflow_runner interceptors plugins max_cached_workflows max_concurrent_workflow_tasks "
    "max_concurrent_activities max_concurrent_local_activities max_concurrent_nexus_tasks tuner workflow_task_poller_behavior "
    "activity_task_poller_behavior nexus_task_poller_behavior max_concurrent_workflow_task_polls max_concurrent_activity_task_polls "
    "nonsticky_to_sticky_poll_ratio sticky_queue_schedule_to_start_timeout no_remote_activities max_heartbeat_throttle_interval "
    "default_heartbeat_throttle_interval max_activities_per_second max_task_queue_activities_per_second graceful_shutdown_timeout "
    "max_eager_activity_reservations_per_workflow_task disable_eager_activity_execution workflow_failure_exception_types debug_mode "
    "disable_safe_workflow_eviction patch_activation_callback disable_payload_error_limit max_workflow_task_external_storage_concurrency "
    "identity build_id use_worker_versioning deployment_config on_fatal_error shared_state_manager"
)
ACTIVITY = (
    "task_queue schedule_to_close_timeout schedule_to_start_timeout start_to_close_timeout heartbeat_timeout retry_policy "
    "cancellation_type activity_id versioning_intent summary priority"
)
CONTINUE_AS_NEW = (
    "arg args workflow task_queue run_timeout task_timeout backoff_start_interval retry_policy memo search_attributes versioning_intent "
    "initial_versioning_behavior"
)
DEFINITION = "cls name sandboxed dynamic failure_exception_types versioning_behavior"


def parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "options", "others"}


@pytest.mark.parametrize(
    ("known", "own", "table", "typed"),
    [
        (START, set(Start.__slots__), foreign.START, StartOptions),
        (CONNECT, parameters(Client.connect), foreign.CONNECT, ConnectOptions),
        (WORKER, parameters(Worker.__init__), foreign.WORKER, WorkerOptions),
        (ACTIVITY, workflow.ActivityConfig.__annotations__.keys() - foreign.ACTIVITY.keys(), foreign.ACTIVITY, workflow.ActivityConfig),
        (CONTINUE_AS_NEW, parameters(workflow.continue_as_new), foreign.CONTINUE_AS_NEW, None),
        (DEFINITION, parameters(workflow.defn), foreign.DEFINITION, None),
    ],
    ids=["start", "connect", "worker", "activity", "continue_as_new", "defn"],
)
def test_every_option_of_temporals_is_honoured_or_in_a_table(
    known: str, own: set[str], table: dict[str, foreign.Foreign], typed: Any
) -> None:
    assert set(known.split()) - own == set(table), "the table has what is known and not honoured, and nothing else"
    harmless = {name for name, option in table.items() if not option.instead}
    assert harmless <= set(getattr(typed, "__annotations__", ())), "type checkers take what is accepted without effect"
    assert not {name for name, option in table.items() if option.instead} & set(getattr(typed, "__annotations__", ()))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect(f"memory://{uuid.uuid4().hex}") as client:
        yield client


@activity.defn
async def greet() -> None: ...


def worker(client: Client, **options: Any) -> Worker:
    return Worker(client, **{"task_queue": "q", "activities": [greet], **options})


async def test_a_worker_takes_what_is_harmless_and_refuses_the_rest_by_name(client: Client) -> None:
    for name, option in foreign.WORKER.items():
        worker(client, **{name: option.asks_nothing})
        if option.instead:
            with pytest.raises(TypeError) as caught:
                worker(client, **{name: object()})
            assert str(caught.value) == f"Worker: the option {name} has no effect in Perdure, so it is refused: {option.instead}"
        else:
            worker(client, **{name: object()})
    worker(client, plugins=[], interceptors=(), no_remote_activities=False)
    with pytest.raises(TypeError, match="Worker has no option 'max_activities'"):
        worker(client, max_activities=5)


async def test_connect_takes_what_is_harmless_and_refuses_the_rest_by_name() -> None:
    for name, option in foreign.CONNECT.items():
        value: Any = object()
        if option.instead:
            with pytest.raises(TypeError, match=rf"^Client\.connect: the option {name} has no effect"):
                await Client.connect("memory://x", **{name: value})
            value = option.asks_nothing
        async with await Client.connect("memory://x", **{name: value}):
            pass


async def test_a_start_takes_what_is_harmless_and_refuses_the_rest_by_name() -> None:
    for name, option in foreign.START.items():
        value: Any = object()
        if option.instead:
            with pytest.raises(TypeError, match=f"the option {name} has no effect"):
                Start.of({"id": "x", "task_queue": "q", name: value})  # type: ignore[misc]
            value = option.asks_nothing
        assert Start.of({"id": "x", "task_queue": "q", name: value}) == Start(id="x", task_queue="q")  # type: ignore[misc]
    Start.of({"id": "x", "task_queue": "q", "cron_schedule": "", "search_attributes": {}})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client": None}, "client is None"),
        ({"task_queue": 5}, r"task_queue is 5 \(int\)"),
        ({"activities": greet}, "activities is <function"),
        ({"workflows": flows.Summarised}, "workflows is <class"),
        ({"workflow_failure_exception_types": [ValueError("x")]}, "must have classes of exceptions"),
        ({"activity_executor": 5}, "activity_executor is 5"),
        ({"graceful_shutdown_timeout": 5}, "graceful_shutdown_timeout is 5"),
        ({"session_timeout": 5}, "session_timeout is 5"),
        ({"identity": 5}, "identity is 5"),
        ({"max_concurrent_activities": "5"}, "max_concurrent_activities is '5'"),
        ({"max_cached_workflows": 2.5}, "max_cached_workflows is 2.5"),
    ],
)
async def test_a_workers_option_of_a_wrong_type_is_named(client: Client, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Worker(**{"client": client, "task_queue": "q", "activities": [greet], **options})
    with pytest.raises(ValueError, match="max_concurrent_activities is -1"):
        worker(client, max_concurrent_activities=-1)


async def test_cached_workflows_and_debug_mode_are_honoured(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEMPORAL_DEBUG", raising=False)
    cases: list[tuple[dict[str, Any], int, int]] = [
        ({}, 2_000, 2_000),
        ({"max_cached_workflows": 7}, 7, 2_000),
        ({"debug_mode": True}, 2_000, 0),
    ]
    for options, cached, patience_ms in cases:
        made: Any = worker(client, workflows=[flows.Summarised], **options)._make_owner()
        assert (made._limits.cached_runs_max, made._host._watchdog.timeout_ms) == (cached, patience_ms)
    monkeypatch.setenv("TEMPORAL_DEBUG", "1")
    debugged: Any = worker(client, workflows=[flows.Summarised])._make_owner()
    assert debugged._host._watchdog.timeout_ms == 0


def test_workflow_code_may_give_a_summary() -> None:
    code = Code(flows.Summarised)
    assert kinds(code.begin()) == ["ScheduleActivity"]
    code.close()


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (flows.Prioritised, "activity 'greet': the option priority has no effect in Perdure, so it is refused: tasks of a queue"),
        (flows.Misspelt, "activity 'greet' has no option 'start_to_close'; did you mean 'start_to_close_timeout'"),
        (flows.Continued, r"workflow\.continue_as_new: the option search_attributes has no effect.*memo"),
        (flows.ContinuedAsNothing, r"continue_as_new\(\): workflow is 5, and must be a run method"),
    ],
)
def test_what_workflow_code_cannot_ask_for_is_named_in_what_blocks_the_run(cls: type, message: str) -> None:
    code = Code(cls)
    with pytest.raises(ActivationError, match=message):
        code.begin()
    code.close()


def test_a_definition_refuses_versioning_by_name() -> None:
    options: dict[str, Any] = {"versioning_behavior": 1}
    with pytest.raises(TypeError, match=r"versioning_behavior has no effect.*workflow\.patched"):
        workflow.defn(**options)
    options["versioning_behavior"] = 0
    workflow.defn(**options)
