"""The four floors: an import runs down, never up and never sideways between commands."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import seatools
from seatools.cli import COMMANDS

ROOT = Path(seatools.__file__).parent
COMMAND_FLOORS = {module.split(".")[1] for module, _ in COMMANDS.values()}
BELOW = {"streams": set(), "text": {"streams"}, "engine": {"streams"}, "help": {"cli", "streams"}} | {
    name: {"streams", "text", "engine"} for name in COMMAND_FLOORS
}
# What may never be imported by a floor, at any depth of its own files.
FORBIDDEN = {name: {"torch", "transformers"} for name in ("streams", "text", "audit", "vocab_extend", "clean", "mix")}


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of a file, those inside functions too, those for type checkers only not."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
        elif isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
    return found


def python_files(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


@pytest.mark.parametrize("floor", sorted(BELOW))
def test_imports_run_down(floor: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in python_files(floor)
        for line, module in imports(path)
        if module.startswith("seatools.") and module.split(".")[1] not in BELOW[floor] | {floor}
    ]
    assert wrong == []


@pytest.mark.parametrize("floor", sorted(FORBIDDEN))
def test_light_floors_never_import_torch_or_transformers(floor: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in python_files(floor)
        for line, module in imports(path)
        if module.split(".")[0] in FORBIDDEN[floor]
    ]
    assert wrong == []


def test_floors_cover_the_package() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(BELOW)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
