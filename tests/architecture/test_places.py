"""Each library has one place, and the three parent folders are no packages."""

from __future__ import annotations

import tomllib

import pytest

from kit.sources import ROOT, imports

SOURCES = ("schemas", "sdk", "platform")
PLACES = {
    "confluent_kafka": ("sdk/perdure/_log/kafka/", "platform/perdure_check/kafka_log.py"),
    "apsw": ("sdk/perdure/_log/sqlite/",),
    "sqlite3": ("sdk/examples/transfer/bank.py", "platform/perdure_check/sqlite_log.py"),
    "fastavro": ("schemas/perdure_schemas/codec.py",),
    "opentelemetry": ("sdk/perdure/_telemetry/", "sdk/perdure/contrib/opentelemetry/"),
    "rocksdict": ("platform/perdure_platform/store/rocks.py",),
    "typer": ("platform/perdure_platform/cli/",),
    "pydantic": ("sdk/perdure/contrib/pydantic.py",),
}
NOWHERE = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml")
"""Nothing from the wire is ever unpickled, evaluated or imported (design.md 10)."""


ENDS_THE_PROCESS = ("describe_consumer_groups", "list_consumer_group_offsets", "alter_consumer_group_offsets", "delete_consumer_groups")
"""Requests of the Kafka library's admin client that a group's coordinator answers; see KafkaAdmin."""


@pytest.mark.parametrize("request_name", ENDS_THE_PROCESS)
def test_no_coordinator_is_asked_through_the_admin_client(request_name: str) -> None:
    own_process = ROOT / "sdk/perdure/_log/kafka/newer_groups.py"
    found = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py") if request_name in path.read_text()]
    assert not [path for path in found if path != own_process]


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_imported_in_its_place_only(library: str) -> None:
    elsewhere = [one for one in imports(*SOURCES) if one.top == library and not one.file.startswith(PLACES[library])]
    assert not elsewhere, "\n" + "\n".join(map(str, elsewhere))


@pytest.mark.parametrize("library", NOWHERE)
def test_what_runs_foreign_data_is_imported_nowhere(library: str) -> None:
    found = [one for one in imports(*SOURCES) if one.top == library]
    assert not found, "\n" + "\n".join(map(str, found))


def test_every_dependency_has_a_place() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {line.split(">")[0].split("=")[0].strip().replace("-", "_") for line in declared}
    assert {name for name in names if name not in PLACES and not name.startswith("opentelemetry")} == set()


@pytest.mark.parametrize("folder", SOURCES)
def test_a_parent_folder_is_no_package(folder: str) -> None:
    """With an `__init__.py`, `platform` would hide the standard library's module."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_folder_of_the_tests_hides_a_module() -> None:
    assert not (ROOT / "tests" / "platform").exists()
    outside = [path for path in (ROOT / "tests").rglob("__init__.py") if (ROOT / "tests" / "kit") not in path.parents]
    assert not outside
