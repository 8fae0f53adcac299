"""Rules of the house that no linter knows: sizes and names of files, and the import arrows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

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
