"""Arguments of a wrong type are a TypeError at the call that names the argument, what was given and what is wanted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kit.replies import always
from kit.scripted_owner import ScriptedOwner
from perdure import workflow
from perdure.client import Client
from perdure.client._arguments import expect
from perdure.common import RetryPolicy
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from perdure_schemas.commands import StartWorkflow
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import WorkflowClosed, WorkflowStarted


@workflow.defn(name="greeting")
class Greet:
    @workflow.run
    async def run(self) -> int: ...  # type: ignore[empty-body]

    @workflow.signal
    def go(self) -> None: ...


class Undecorated:
    @workflow.run
    async def run(self) -> int: ...  # type: ignore[empty-body]


def start(**options: Any) -> Callable[[Client], Any]:
    return lambda client: client.start_workflow("T", **{"id": "x", "task_queue": "q", **options})


def handle(name: str, *values: Any, **options: Any) -> Callable[[Client], Any]:
    return lambda client: getattr(client.get_workflow_handle("x"), name)(*values, **options)


class Unknown:
    pass


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (start(id=uuid.UUID(int=5)), r"id is UUID\('0{8}-.*'\) \(UUID\), and must be a str: give text, for example str\(…\)"),
        (start(id=None), "id is None, and must be a str"),
        (start(task_queue=None), "task_queue is None, and must be a str"),
        (start(run_timeout=5), r"run_timeout is 5 \(int\), and must be a timedelta or None: give timedelta\(seconds=…\)"),
        (start(execution_timeout=2.5), "execution_timeout is 2.5"),
        (start(task_timeout="5s"), "task_timeout is '5s'"),
        (start(start_delay=0), "start_delay is 0"),
        (start(rpc_timeout=5), "rpc_timeout is 5"),
        (start(retry_policy={"maximum_attempts": 3}), r"retry_policy is \{.*\} \(dict\), and must be a RetryPolicy or None"),
        (start(id_reuse_policy="reject"), "id_reuse_policy is 'reject'.*WorkflowIDReusePolicy"),
        (start(id_conflict_policy=7), "id_conflict_policy is 7.*WorkflowIDConflictPolicy"),
        (start(memo=[1]), r"memo is \[1\] \(list\), and must be a Mapping or None: give a dict"),
        (start(memo={1: 2}), r"a key of memo is 1 \(int\)"),
        (start(memo={"a": Unknown()}), r"value 'a' of the memo of workflow 'x': a value of class .*Unknown"),
        (start(start_signal=Greet.go), "start_signal is <function.*str"),
        (start(start_signal="go", start_signal_args="abc"), "args is 'abc'"),
        (start(request_id=uuid.UUID(int=5)), "request_id is UUID"),
        (start(args=5), r"args is 5 \(int\), and must be a list or tuple"),
        (start(args={"a": 1}), "args is .*dict"),
        (start(args=[1, Unknown()]), "input of workflow 'x': argument 2: a value of class .*Unknown"),
        (start(run_timout=None), "no option 'run_timout'; did you mean 'run_timeout'"),
        (lambda client: client.start_workflow("T", id="x"), "task_queue must be given"),
        (lambda client: client.start_workflow(5, id="x", task_queue="q"), r"workflow is 5 \(int\), and must be a run method, a workflow"),
        (lambda client: client.execute_workflow(None, id="x", task_queue="q"), "workflow is None"),
        (lambda client: client.execute_workflow("T", id=5, task_queue="q"), r"id is 5 \(int\)"),
        (lambda client: client.get_workflow_handle(uuid.UUID(int=5)), "id is UUID"),
        (lambda client: client.get_workflow_handle("x", run_id=5), "run_id is 5"),
        (lambda client: client.get_async_activity_handle(workflow_id="x", run_id=None, activity_id=5), "activity_id is 5"),
        (lambda client: client.get_async_activity_handle(task_token="abc"), "task_token is 'abc'"),
        (lambda client: anext(client.list_workflows(5)), "query is 5"),
        (lambda client: anext(client.list_workflows(limit="5")), "limit is '5'"),
        (handle("signal", 5), "signal is 5"),
        (handle("signal", "s", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("signal", "s", request_id=5), "request_id is 5"),
        (handle("signal", "s", Unknown()), "input of signal 's' to workflow 'x': a value of class"),
        (handle("query", None), "query is None"),
        (handle("query", "q", reject_condition="open"), "reject_condition is 'open'"),
        (handle("query", "q", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("result", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("cancel", None), "reason is None"),
        (handle("cancel", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("terminate", reason=5), "reason is 5"),
        (handle("terminate", Unknown()), "details of the termination of workflow 'x'"),
        (handle("resume", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("describe", rpc_timeout=5), "rpc_timeout is 5"),
        (handle("fetch_history", rpc_timeout=5), "rpc_timeout is 5"),
    ],
)
async def test_an_argument_of_a_wrong_type_is_named(
    client: Client, owner: ScriptedOwner, call: Callable[[Client], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        await call(client)
    assert owner.commands == []


@pytest.mark.parametrize(
    "options", [{"identity": 5}, {"namespace": 5}, {"timeout": 5}, {"request_lifetime": 5}, {"data_converter": DataConverter}]
)
async def test_so_is_one_of_connect(options: dict[str, Any]) -> None:
    ((name, _),) = options.items()
    with pytest.raises(TypeError, match=f"{name} is "):
        await Client.connect("memory://x", **options)
    with pytest.raises(TypeError, match="target_host is"):
        await Client.connect(5)  # type: ignore[arg-type]


async def test_a_workflow_may_be_named_by_its_class(client: Client, owner: ScriptedOwner) -> None:
    result = client.data_converter.payload_converter.to_payloads([42])
    owner.script = always(StartWorkflow, WorkflowStarted("r", "r"), WorkflowClosed("r", WorkflowStatus.COMPLETED, result))
    target: Any
    for target in (Greet, Greet.run, Greet().run, "greeting"):
        assert await client.execute_workflow(target, id="x", task_queue="q") == 42
        await client.start_workflow(target, id="x", task_queue="q")
    assert {sent.workflow_type for sent in owner.received(StartWorkflow)} == {"greeting"}
    anything: Any = Greet
    assert client.get_workflow_handle_for(anything, "x").id == "x"


async def test_a_class_or_method_that_is_not_decorated_is_named(client: Client, owner: ScriptedOwner) -> None:
    class Sub(Greet):
        pass

    target: Any
    for target, name in [(Undecorated.run, "Undecorated.run"), (Undecorated, "Undecorated"), (Sub, "Sub"), (print, "print")]:
        with pytest.raises(ValueError, match=f"{re.escape(name)} is not the run method of a workflow.*@workflow.defn"):
            await client.start_workflow(target, id="x", task_queue="q")
    assert owner.commands == []


async def test_a_result_that_cannot_be_read_names_its_workflow(client: Client, owner: ScriptedOwner) -> None:
    result = client.data_converter.payload_converter.to_payloads(["text"])
    owner.script = always(StartWorkflow, WorkflowStarted("r", "r"), WorkflowClosed("r", WorkflowStatus.COMPLETED, result))
    with pytest.raises(TypeError, match="result of workflow 'x': expected int, got 'text'"):
        await client.execute_workflow(Greet.run, id="x", task_queue="q")


async def test_values_of_the_right_type_are_taken(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, WorkflowStarted("r", "r"))
    await start(
        run_timeout=timedelta(seconds=5), retry_policy=RetryPolicy(), memo={}, args=(1,), start_signal="go", start_signal_args=(1, 2)
    )(client)
    expect("anything", None, str, optional=True)


class TestDataConverter:
    def test_a_class_makes_its_converter(self) -> None:
        class Payloads(CompositePayloadConverter):
            def __init__(self) -> None:
                super().__init__(JSONPlainPayloadConverter())

        class Failures(DefaultFailureConverter):
            pass

        made = DataConverter(payload_converter_class=Payloads, failure_converter_class=Failures)
        assert (type(made.payload_converter), type(made.failure_converter)) == (Payloads, Failures)
        assert type(DataConverter().payload_converter) is DefaultPayloadConverter

    def test_what_is_no_converter_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"payload_converter is <class .*payload_converter_class"):
            DataConverter(payload_converter=DefaultPayloadConverter)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"payload_codec has no effect.*payload converter of your own"):
            DataConverter(payload_codec=object())  # type: ignore[arg-type]
