"""Nothing from the wire is unpickled, evaluated or imported (faults.md 6.9)."""

import ast

import pytest

from kit.sources import ROOT, files, imports

OURS = ("schemas", "sdk/perdure", "platform")
MAKE_OBJECTS_OF_BYTES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "jsonpickle"}
RUN_TEXT = {"eval", "exec", "compile", "__import__"}
BY_NAME = {
    "sdk/perdure/_replay/registry.py": "the registry that a user names on the command line",
    "sdk/perdure/_telemetry/setup.py": "the exporter, from a table",
}


def called(node: ast.AST) -> str:
    """The name of what a call calls, without what it is an attribute of; of re.compile, the whole."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
        case ast.Call(func=ast.Attribute(attr="import_module")):
            return "import_module"
    return ""


def calls() -> list[tuple[str, int, str]]:
    found = [(path, node) for path in files(*OURS) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return [(path.relative_to(ROOT).as_posix(), getattr(node, "lineno", 0), name) for path, node in found if (name := called(node))]


def test_nothing_that_makes_objects_of_bytes_is_imported() -> None:
    assert [str(one) for one in imports(*OURS) if one.top in MAKE_OBJECTS_OF_BYTES] == []


def test_no_text_is_run() -> None:
    assert [one for one in calls() if one[2] in RUN_TEXT] == []


def test_modules_are_imported_by_name_where_no_record_says_the_name() -> None:
    assert {file for file, _, name in calls() if name == "import_module"} == set(BY_NAME)


@pytest.mark.parametrize("text", ["eval('1')", "exec('1')", "__import__('os')", "importlib.import_module('os')"])
def test_each_of_these_would_be_seen(text: str) -> None:
    assert called(ast.parse(text, mode="eval").body) in RUN_TEXT | {"import_module"}
