"""Who may import whom: perdure_schemas <- perdure <- perdure_platform, and within them what the layout says."""

from __future__ import annotations

import sys

import pytest

from kit.sources import ROOT, Imported, imports, imports_of

PLATFORM = "platform/perdure_platform"
EMBED = "sdk/perdure/_embed.py"
CHECKER = "platform/perdure_check"
OURS = {"perdure_schemas", "perdure", "perdure_platform", "perdure_check"}


def none_of(found: list[Imported]) -> None:
    assert not found, "\n" + "\n".join(map(str, found))


def test_the_schemas_know_nothing_but_the_standard_library_and_their_codec() -> None:
    allowed = {*sys.stdlib_module_names, "perdure_schemas", "fastavro"}
    none_of([one for one in imports("schemas") if one.top not in allowed])


def test_the_sdk_reaches_the_platform_in_one_file_only() -> None:
    none_of([one for one in imports("sdk/perdure") if one.is_of("perdure_platform") and one.file != EMBED])


def test_that_file_does_so_inside_of_functions() -> None:
    at_import = [
        line for line in (ROOT / EMBED).read_text().splitlines() if line.startswith(("import perdure_platform", "from perdure_platform"))
    ]
    assert at_import == []
    assert [one for one in imports("sdk/perdure") if one.is_of("perdure_platform")], f"{EMBED} does not import the platform any more"


def test_the_checker_shares_no_code_with_what_it_checks() -> None:
    none_of([one for one in imports(CHECKER) if one.top in OURS - {"perdure_check"}])
    allowed = {*sys.stdlib_module_names, "perdure_check", "confluent_kafka"}
    none_of([one for one in imports(CHECKER) if one.top not in allowed])


def test_nothing_that_is_checked_knows_the_checker() -> None:
    none_of([one for one in imports("schemas", "sdk", PLATFORM) if one.top == "perdure_check"])


def test_examples_use_what_users_use() -> None:
    private = [
        one for one in imports("sdk/examples") if one.top == "perdure" and any(part.startswith("_") for part in one.module.split("."))
    ]
    none_of([*private, *(one for one in imports("sdk/examples") if one.top in ("perdure_schemas", "perdure_platform"))])


@pytest.mark.parametrize("machinery", ["_log", "_replay", "_activity_worker", "_telemetry"])
def test_machinery_of_the_sdk_knows_neither_client_nor_worker(machinery: str) -> None:
    none_of([one for one in imports(f"sdk/perdure/{machinery}") if one.is_of("perdure.client") or one.is_of("perdure.worker")])


def test_the_log_adapters_know_no_other_part_of_the_sdk() -> None:
    none_of([one for one in imports("sdk/perdure/_log") if one.top == "perdure" and not one.is_of("perdure._log")])


@pytest.mark.parametrize("outside", ["cli", "web", "ops", "node"])
def test_the_partition_knows_nobody_around_it(outside: str) -> None:
    none_of([one for one in imports(f"{PLATFORM}/partition", f"{PLATFORM}/store") if one.is_of(f"perdure_platform.{outside}")])


def test_the_core_is_pure() -> None:
    """No I/O, clock, randomness or logging, neither store nor log, and of the SDK the activation interface only."""
    allowed = ("perdure._replay.actions", "perdure._replay.host", "perdure_schemas", "perdure_platform.partition.transition")
    found = imports(f"{PLATFORM}/partition/transition")
    none_of([one for one in found if one.top in OURS and not any(one.is_of(name) for name in allowed)])
    algorithms = {"collections", "copy", "functools", "hashlib", "heapq", "itertools", "math", "operator"}
    pure = algorithms | {"__future__", "dataclasses", "enum", "typing"}
    none_of([one for one in found if one.top not in OURS and one.top not in pure])


def test_the_store_knows_no_log() -> None:
    none_of([one for one in imports(f"{PLATFORM}/store") if one.top == "perdure"])


def test_hidden_imports_are_seen() -> None:
    """The reader of these rules itself: an import that it overlooks would make every rule here hold."""
    source = """
import a.b
from c import d
if True:
    def f():
        from .e import g
        from .. import h
        import_module("i.j"); importlib.import_module("k"); __import__("l")
"""
    seen = [one.module for one in imports_of(source, "sdk/perdure/client/x.py")]
    assert sorted(seen) == ["a.b", "c.d", "i.j", "k", "l", "perdure.client.e.g", "perdure.h"]
