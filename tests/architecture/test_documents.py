"""What README and the pages under deploy/ claim is there: files, words of make, commands and their options, variables, numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from kit.mutants.registry import MUTANTS
from kit.sources import ROOT, files
from perdure import workflow
from perdure.client import Client, WorkflowHandle
from perdure_check.cli import _parser as checker
from perdure_platform.cli.app import app

PAGES = ["README.md", "deploy/RUNBOOK.md", "deploy/SECURITY.md", "platform/ARCHITECTURE.md"]
PLACEHOLDERS = {"COMMAND": ["workflow", "list"], "resume|skip": ["resume"], "list|redrive": ["list"]}


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code(page: str) -> Iterator[str]:
    """What stands in code, in a line or in blocks of shell."""
    for block in re.findall(r"```sh\n(.*?)```", text(page), re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    found = [place.partition("#")[0] for place in re.findall(r"\]\(([^)]+)\)", text(page)) if "://" not in place]
    assert [place for place in found if place and not ((ROOT / page).parent / place).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_words_of_make_are_there(page: str) -> None:
    words = {match for line in code(page) for match in re.findall(r"^make ([a-z]+)", line)}
    assert {word for word in words if not re.search(rf"^{word}:", text("Makefile"), re.MULTILINE)} == set()


def commands(page: str, name: str) -> list[list[str]]:
    """The words of each command of that name on a page, without comments and without what is piped on."""
    pattern = re.compile(rf"(?:^|[ $]){name} (?!:)([^&|…]*(?:\|[a-z][^&|…]*)?)")
    return [shlex.split(found[1], comments=True) for line in code(page) if (found := pattern.search(line)) is not None]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_are_there(page: str) -> None:
    wrong = []
    for words in commands(page, "perdure"):
        words = [part for word in words for part in PLACEHOLDERS.get(word, [word])]
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            if words[0] not in command.commands:
                wrong.append(f"there is no command {words[0]}")
                break
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", "--install-completion"}
        wrong += [f"{command.name} has no {word}" for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_options_of_the_checker_are_there(page: str) -> None:
    known = set(checker()._option_string_actions)
    assert {word for words in commands(page, "perdure-check") for word in words if word.startswith("--")} <= known


def test_the_variables_of_the_configuration_are_read() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in files("sdk/perdure", "platform/perdure_platform", "tests/kit", "tests"))
    named = set(re.findall(r"PERDURE_[A-Z_]+", text("README.md")))
    assert named
    assert {name for name in named if f'"{name}"' not in sources} == set()


def test_the_number_of_misreadings_is_right() -> None:
    assert f"| {len(MUTANTS)} tempting misreadings" in text("README.md")


def test_what_is_not_there_is_not_promised() -> None:
    """Should one of these come, the README may say so."""
    absent = {"updates": hasattr(WorkflowHandle, "execute_update"), "child workflows": hasattr(workflow, "execute_child_workflow")}
    absent |= {"schedules": hasattr(Client, "create_schedule"), "local activities": hasattr(workflow, "execute_local_activity")}
    (sentence,) = re.findall(r"There are no ([^.]+) yet\.", text("README.md").replace("\n", " "))
    assert [name for name, is_there in absent.items() if is_there == (name in sentence)] == []
    (promise,) = re.findall(r"\| P1 \|([^|]+)\|", text("README.md"))
    assert ("update" in promise) == absent["updates"]
