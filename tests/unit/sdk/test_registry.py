"""What is wrong with a user's `app:registry` is said with the line of the user's own code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure import Registry, RegistryError
from perdure._replay.registry import load_registry

Load = Callable[[str], Path]

HEAD = """\
from perdure import Registry, activity, workflow


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self) -> None: ...


@activity.defn
async def greet() -> None: ...


"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes `app_of_a_user.py` and returns its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "app_of_a_user.py").write_text(text)
        return tmp_path / "app_of_a_user.py"

    yield write
    sys.modules.pop("app_of_a_user", None)


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        (HEAD + "1 / 0\n", "ZeroDivisionError: division by zero", 14),
        (HEAD + "import json\njson.loads('{')\n", "JSONDecodeError", 15),
        (HEAD + "def broken(:\n", "SyntaxError: invalid syntax", 14),
        (HEAD + "import no_such_library\n", "imports 'no_such_library', which is not installed", 14),
        (HEAD + "raise SystemExit(3)\n", r"ends the process as it is imported: SystemExit\(3\)", 14),
        (HEAD + "@workflow.defn\nclass NoRun: ...\n", "NoRun", 14),
        (
            HEAD + "class Plain: ...\n\nregistry = Registry(task_queue='q', workflows=[Plain])\n",
            "decorate the class with @workflow.defn",
            14,
        ),
        (HEAD + "class Plain: ...\n\nregistry = Registry(task_queue='q', workflows=[Plain])\n", "Plain", 16),
        (HEAD + "def plain(): ...\n\nregistry = Registry(task_queue='q', activities=[plain])\n", "decorate it with @activity.defn", 14),
        (
            HEAD + "@activity.defn(name='greet')\ndef other(): ...\nRegistry(task_queue='q', activities=[greet, other])\n",
            "called 'greet'",
            10,
        ),
        (
            HEAD + "@activity.defn(name='greet')\ndef other(): ...\nRegistry(task_queue='q', activities=[greet, other])\n",
            "called 'greet'",
            14,
        ),
        (
            HEAD + "@activity.defn(name='greet')\ndef other(): ...\nRegistry(task_queue='q', activities=[greet, other])\n",
            "called 'greet'",
            16,
        ),
        (
            HEAD
            + "@workflow.defn(name='Greeting')\nclass B(Greeting):\n    @workflow.run\n    async def run(self): ...\n"
            + "Registry('q', [Greeting, B])\n",
            "called 'Greeting'",
            14,
        ),
        (HEAD + "Registry(task_queue='q', activities=[3])\n", "3 is not an activity", 14),
        (HEAD + "Registry(task_queue='')\n", "the task queue is empty", 14),
        (HEAD + "Registry(task_queue='q' * 143)\n", "takes 143 characters of its topic's name", 14),
        (HEAD + "Registry(task_queue='q', max_concurrent_activities=0)\n", "it must be 1 or more", 14),
    ],
)
def test_the_line_of_the_user_s_code_is_named(written: Load, text: str, says: str, line: int) -> None:
    path = written(text)
    with pytest.raises(RegistryError, match=says) as raised:
        load_registry("app_of_a_user:registry")
    assert f"{path}, line {line})" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("3", "is no registry but of type int"),
        ("None", "is no registry but of type NoneType"),
        ("Registry", "is no registry but of type type"),
    ],
)
def test_what_is_no_registry_is_told_with_its_type(written: Load, value: str, says: str) -> None:
    path = written(f"{HEAD}registry = {value}\n")
    with pytest.raises(RegistryError, match=says) as raised:
        load_registry("app_of_a_user:registry")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("place", ["app_of_a_user.py:registry", "./app_of_a_user.py:registry", "./app_of_a_user:registry"])
def test_a_path_is_told_from_a_module_s_name(written: Load, place: str) -> None:
    written(f"{HEAD}registry = Registry(task_queue='q')\n")
    with pytest.raises(RegistryError, match="write app_of_a_user:registry"):
        load_registry(place)


def test_a_registry_is_loaded(written: Load) -> None:
    written(f"{HEAD}registry = Registry(task_queue='q', workflows=[Greeting], activities=[greet])\n")
    assert load_registry("app_of_a_user:registry").task_queue == "q"


def test_a_registry_that_is_made_in_place_names_what_it_was_given() -> None:
    class Undecorated: ...

    with pytest.raises(RegistryError, match=rf"decorate the class with @workflow.defn \({__file__}, line \d+\)"):
        Registry(task_queue="q", workflows=[Undecorated])
