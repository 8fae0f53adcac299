"""Rules of the house that no linter knows: sizes and names of files, and the import arrows."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for package in ("app", "worker", "gogooku3") for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_small_and_named_by_a_noun_of_the_field(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 600, f"{path.name} has {lines} lines: split it by noun"
    assert path.stem not in {"utils", "util", "common", "helpers", "misc", "core"}


def test_architecture_lists_the_layers_that_are_checked() -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [one for contract in checked["contracts"] for one in contract.get("layers", [])]
    drawing = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    name = r"(?:app|worker|gogooku3)[a-z0-9_.]*"
    listed = re.findall(rf"^ +({name}(?: \| {name})*)(?=\s)", drawing, re.MULTILINE)
    assert listed == [*layers, "gogooku3.client"]


def test_what_is_imported_is_a_dependency_of_our_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        one for name, of in project["optional-dependencies"].items() if name != "dev" for one in of
    ]
    wanted = [Requirement(one) for one in [*project["dependencies"], *extras]]
    declared = {canonicalize_name(one.name) for one in wanted}
    makers = packages_distributions()
    ours = {"app", "worker", "gogooku3", "migrations"}
    undeclared = {}
    for path in SOURCES:
        for name in _imported(path) - ours - sys.stdlib_module_names:
            distributions = {canonicalize_name(one) for one in makers.get(name, [])}
            if name != "pandas" and not distributions & declared:  # pandas: for its types alone
                undeclared[name] = str(path.relative_to(ROOT))
    assert undeclared == {}


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_top_level_is_the_one_that_was_agreed() -> None:
    packages = {"app", "worker", "gogooku3", "migrations", "tests"}
    folders = {".ci", "docs", "examples", "benchmarks"}
    files = {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "Dockerfile",
        "docker-compose.yml",
        ".gitignore",
        ".dockerignore",
    }
    allowed = packages | folders | files
    made_by_tools = {".git", ".venv", ".gogooku3", ".hypothesis", "build", "dist"}
    found = {path.name for path in ROOT.iterdir()}
    extra = {
        name
        for name in found - allowed - made_by_tools
        if not name.endswith((".egg-info", "_cache"))
    }
    assert not extra
    assert not allowed - found
