"""What a command says while it waits, and how long it waits at most."""

from __future__ import annotations

import asyncio

import pytest
import typer

from perdure_platform.cli.options import DEFAULT_LOG
from perdure_platform.cli.patience import CALL_SECONDS, Patience
from perdure_platform.cli.waiting import Notices, answered


def test_the_same_is_said_once_until_it_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices(DEFAULT_LOG, None)
    for _ in range(2):
        notices.say("no owner")
    notices.say("something\x1b[2Jelse")
    notices.forget("no owner")
    notices.say("no owner")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line for line in lines if "no owner" in line] == ["perdure: no owner"] * 2
    assert "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("log_url", "namespace", "workflow_id", "command"),
    [
        (DEFAULT_LOG, None, "order-7", "perdure workflow result order-7"),
        ("kafka://there:9092", None, "it's", """perdure workflow result --log kafka://there:9092 'it'"'"'s'"""),
        ("sqlite:////a b.db", "shop", "--help", "perdure workflow result --log 'sqlite:////a b.db' --namespace shop -- --help"),
        ("kafka://there:9092?librdkafka.sasl.password=secret", None, "a", "perdure workflow result --log kafka://there:9092 a"),
        ("kafka://environment:9092", "environment", "a", "perdure workflow result a"),
    ],
)
def test_a_command_is_named_as_one_types_it(
    monkeypatch: pytest.MonkeyPatch, log_url: str, namespace: str | None, workflow_id: str, command: str
) -> None:
    monkeypatch.setenv("PERDURE_LOG", "kafka://environment:9092")
    monkeypatch.setenv("PERDURE_NAMESPACE", "environment")
    assert Notices(log_url, namespace).typed("workflow result", workflow_id) == command


async def test_who_waits_for_an_answer_is_told_once_that_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perdure_platform.cli.waiting.NOBODY_SECONDS", 0.01)
    notices = Notices(DEFAULT_LOG, None)

    async def late() -> str:
        await asyncio.sleep(0.2)  # the loop wakes who waits shorter first, however slow it is
        return "answer"

    assert await answered(late(), notices, "partition 3 of namespace 'shop'") == "answer"
    said = capsys.readouterr().err
    assert "no owner has answered for partition 3 of namespace 'shop' yet" in said
    assert "start one: perdure owner MODULE:NAME" in said


async def test_an_answer_in_time_is_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def prompt() -> str:
        return "answer"

    assert await answered(prompt(), Notices(DEFAULT_LOG, None), "partition 3") == "answer"
    assert capsys.readouterr().err == ""


async def test_patience_bounds_each_call_and_all_together() -> None:
    assert Patience("").left_s is None
    assert Patience("").call().total_seconds() == CALL_SECONDS
    assert 0 < Patience("5s").call().total_seconds() <= 5
    assert Patience("1h").call().total_seconds() == CALL_SECONDS
    with pytest.raises(TimeoutError, match="the list took longer than 10ms"):
        async with Patience("10ms").bounding("the list", grace_s=0.01):
            await asyncio.Event().wait()
    with pytest.raises(typer.BadParameter, match="soon"):
        Patience("soon")
