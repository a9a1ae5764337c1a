"""What the source files import, read from their syntax: also what they import inside functions, under conditions or by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Imported:
    """One import: `file` is relative to the repository, `module` the whole dotted name, with the name taken from it where it may be one."""

    file: str
    line: int
    module: str

    @property
    def top(self) -> str:
        """The distribution's package."""
        return self.module.split(".")[0]

    def is_of(self, package: str) -> bool:
        """Whether it is `package` or something in it."""
        return self.module == package or self.module.startswith(package + ".")

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def files(*folders: str) -> list[Path]:
    """Every Python file below the folders of the repository."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no file below {folders}"
    return found


@cache
def imports(*folders: str) -> list[Imported]:
    """Every import of every file below the folders."""
    return [one for path in files(*folders) for one in imports_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())]


def imports_of(source: str, file: str) -> Iterator[Imported]:
    """The imports of one file. One by a name that is computed (a user's registry) cannot be seen."""
    for node in ast.walk(ast.parse(source, file)):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Imported(file, node.lineno, alias.name)
            case ast.ImportFrom():
                base = _absolute(node, file)
                for alias in node.names:
                    yield Imported(file, node.lineno, f"{base}.{alias.name}")
            case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")) if node.args:
                if (constant := _constant_of(node.args[0])) is not None:
                    yield Imported(file, node.lineno, constant)


def _absolute(node: ast.ImportFrom, file: str) -> str:
    if node.level == 0:
        assert node.module is not None
        return node.module
    package = list(Path(file).parts[1 : -node.level])
    return ".".join([*package, *([node.module] if node.module else [])])


def _constant_of(argument: ast.expr) -> str | None:
    match argument:
        case ast.Constant(value=str() as name):
            return name
        case _:
            return None
