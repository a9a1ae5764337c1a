"""What users get wrong: each time one clear error that says what happened, to whom, and what to do; nothing hangs and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kit.shell import APP, Shell, make_shell
from perdure.client import Client, LimitExceeded, WorkflowQueryFailedError
from perdure_platform.cli.exits import ExitCode

pytestmark = pytest.mark.slow

MORE = """
LARGE = "x" * 3_000_000


@activity.defn
async def large() -> str:
    return LARGE


@workflow.defn
class Large:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(large, start_to_close_timeout=timedelta(seconds=30))


@workflow.defn
class LargeResult:
    @workflow.run
    async def run(self) -> str:
        return LARGE


@workflow.defn
class Misspelt:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity("gret", "Ada", schedule_to_close_timeout=timedelta(seconds=3))


@workflow.defn
class Asked(Basket):
    @workflow.run
    async def run(self) -> list[str]:
        return await super().run()

    @workflow.query
    def everything(self) -> str:
        return LARGE


registry = Registry(
    task_queue="work", workflows=[Greeting, Basket, Large, LargeResult, Misspelt, Asked], activities=[greet, large]
)
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in whose directory `perdure dev` runs code that does more than it may."""
    made = make_shell(tmp_path_factory.mktemp("dev"))
    (made.directory / "app.py").write_text(APP + MORE)
    made.background("dev", "app:registry")
    made.done("workflow", "start", "Asked", "-q", "work", "--id", "open")
    yield made
    made.stop()
    made.check_log()


@pytest_asyncio.fixture
async def client(dev: Shell) -> AsyncIterator[Client]:
    async with await Client.connect(f"sqlite:///{dev.directory / 'perdure.db'}") as connected:
        yield connected


def refused(shell: Shell, *typed: str) -> tuple[int, str]:
    """Type a command that must fail; its exit code and what it said. That it did not wait in vain is told by the code, not by a clock."""
    finished = shell.typed(*typed, seconds=120)
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr + shell.outputs()
    return finished.returncode, finished.stderr


START = ("workflow", "start", "Greeting", "-q", "work", "-i", '"Ada"')


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ((*START, "--id", ""), "the workflow id is empty; give it 1 to 1000 bytes"),
        ((*START, "--id", "x" * 1001), "the workflow id has 1001 bytes; at most 1000 are allowed"),
        ((*START, "--id", "a\tb"), "control characters"),
        (("workflow", "start", "", "-q", "work"), "the workflow type is empty"),
        (("workflow", "start", "Greeting", "-q", ""), "the task queue is empty"),
        (("workflow", "start", "Greeting", "-q", "q" * 143), "takes 143 characters of its topic's name, and may take 142"),
        ((*START, "--run-timeout", "99999999999999d"), "leave the option out"),
        (("workflow", "describe", ""), "the workflow id is empty"),
        (("workflow", "signal", "open", "s" * 1001), "the signal name has 1001 bytes"),
        (("workflow", "query", "open", "everything"), "the result of query 'everything' to workflow 'open' has 3000020 bytes; at most"),
        (("workflow", "list", "--log", "postgres://localhost/x"), "there is no kind of log called 'postgres'. Accepted are"),
        (("workflow", "list", "--log", "kafka://localhost"), "HOST:PORT was expected, found 'localhost'"),
        (("workflow", "list", "--log", "sqlite:/x.db"), "found 'sqlite:'"),
        (("workflow", "list", "--log", "sqlite:////no/such/place/x.db"), "/no/such/place"),
        (("namespace", "create", "--partitions", "99"), "this number is fixed when a namespace is created"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(dev: Shell, typed: tuple[str, ...], says: str) -> None:
    code, said = refused(dev, *typed)
    assert says in said
    assert code in (ExitCode.USAGE, ExitCode.CONFLICT, ExitCode.UNAVAILABLE)


def test_a_query_that_is_not_there_names_those_that_are(dev: Shell) -> None:
    assert "workflow 'open' has no query 'cuont'; it has: count, everything" in refused(dev, "workflow", "query", "open", "cuont")[1]


def test_a_workflow_of_an_unknown_type_waits_for_its_code_and_says_so(dev: Shell) -> None:
    dev.done("workflow", "start", "Greting", "-q", "work", "--id", "unknown-type")
    code, said = refused(dev, "workflow", "result", "unknown-type", "--timeout", "1s")
    assert code == ExitCode.UNAVAILABLE
    assert "perdure workflow describe unknown-type" in said
    described = dev.done("workflow", "describe", "unknown-type")
    assert "'Greting' (workflow 'unknown-type') is not registered with this owner, which knows: Greeting, Asked, Basket" in described
    assert "running" in described


@pytest.mark.parametrize(
    ("workflow_type", "says"),
    [
        ("Misspelt", "activity 'gret' is not registered on this worker, which knows: greet, large"),
        ("Large", "the result of activity 'large' (id '1', attempt 1) of workflow 'Large-1' has 3000020 bytes; at most 2097152"),
    ],
)
def test_a_workflow_fails_with_what_its_activity_did_wrong(dev: Shell, workflow_type: str, says: str) -> None:
    typed = ("workflow", "start", workflow_type, "-q", "work", "--id", f"{workflow_type}-1", "--wait", "--timeout", "20s")
    code, said = refused(dev, *typed)
    assert (code, says in said) == (ExitCode.FAILED, True), said


def test_a_result_that_is_too_large_blocks_its_run_and_says_so(dev: Shell) -> None:
    dev.done("workflow", "start", "LargeResult", "-q", "work", "--id", "large-result")
    refused(dev, "workflow", "result", "large-result", "--timeout", "1s")
    described = dev.json("workflow", "describe", "large-result")
    assert described["summary"]["status"] == "running"
    assert "the workflow's result has 3000020 bytes" in str(described)


TOO_LARGE = "x" * 3_000_000
CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "workflow 'large-input'": lambda client: client.start_workflow("Greeting", TOO_LARGE, id="large-input", task_queue="work"),
    "workflow 'open'": lambda client: client.get_workflow_handle("open").signal("add", TOO_LARGE),
}


@pytest.mark.parametrize("whose", CALLS)
async def test_what_is_too_large_to_send_is_refused_before_it_is_sent(client: Client, dev: Shell, whose: str) -> None:
    with pytest.raises(LimitExceeded, match=r"has 30000\d\d bytes; at most 2097152 are allowed. Store large data elsewhere") as raised:
        await CALLS[whose](client)
    assert whose in str(raised.value)
    assert dev.done("workflow", "query", "open", "count") == "0\n"


async def test_a_query_with_a_wrong_argument_fails_alone(client: Client) -> None:
    handle = client.get_workflow_handle("open")
    with pytest.raises(WorkflowQueryFailedError, match="positional argument"):
        await handle.query("count", "surplus")
    assert await handle.query("count") == 0


@pytest.mark.parametrize(
    ("typed", "server", "says"),
    [
        (("workflow", "list"), "127.0.0.1:1", "Connection refused"),
        (
            ("workflow", "start", "Greeting", "-q", "work"),
            "no-such-host.invalid:9092?librdkafka.security.protocol=PLAINTEXT",
            "Failed to resolve",
        ),
        (("worker", "app:registry"), "127.0.0.1:1", "Connection refused"),
    ],
)
def test_a_broker_that_cannot_be_reached_is_named(shell: Shell, typed: tuple[str, ...], server: str, says: str) -> None:
    code, said = refused(shell, *typed, "--log", f"kafka://{server}")
    last = said.split("perdure: ")[-1]
    assert code == ExitCode.UNAVAILABLE
    assert f"kafka://{server}".partition("?")[0] in last
    assert says in last
    assert "is it up?" in last


@pytest.mark.kafka
@pytest.mark.parametrize("typed", [("workflow", "list"), ("namespace", "create"), ("worker", "app:registry"), ("owner", "app:registry")])
def test_credentials_that_the_broker_does_not_take_are_refused_soon(
    shell: Shell, kafka: str, typed: tuple[str, ...], tmp_path: Path
) -> None:
    secrets = tmp_path / "kafka.properties"
    secrets.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=me\nsasl.password=s3cret\n")
    code, said = refused(shell, *typed, "--log", f"kafka://{kafka}/bank?config={secrets}")
    assert code == ExitCode.USAGE
    assert "check the credentials in the address of the log" in said
    assert "s3cret" not in said


@pytest.mark.kafka
def test_tls_with_a_broker_that_has_none_is_told(shell: Shell, kafka: str) -> None:
    code, said = refused(shell, "workflow", "list", "--log", f"kafka://{kafka}?librdkafka.security.protocol=SSL")
    assert code == ExitCode.UNAVAILABLE
    assert "SSL" in said.split("perdure: ")[-1]


@pytest.mark.kafka
def test_the_number_of_partitions_of_a_namespace_never_changes(shell: Shell, kafka: str) -> None:
    url = f"kafka://{kafka}/fixed-{time.time_ns()}"
    shell.done("namespace", "create", "--partitions", "2", "--log", url)
    code, said = refused(shell, "namespace", "create", "--partitions", "3", "--log", url)
    assert (code, "has 2 partitions" in said) == (ExitCode.CONFLICT, True), said


@pytest.mark.kafka
@pytest.mark.parametrize("typed", [("workflow", "list"), ("worker", "app:registry"), ("owner", "app:registry"), ("partition", "list")])
def test_a_namespace_that_nobody_made_is_told_with_how_to_make_it(shell: Shell, kafka: str, typed: tuple[str, ...]) -> None:
    code, said = refused(shell, *typed, "--log", f"kafka://{kafka}/nobody-made-it")
    assert (code, "nobody-made-it" in said, "perdure namespace create" in said) == (ExitCode.NOT_FOUND, True, True), said
