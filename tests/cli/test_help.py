"""Every command explains itself, at once."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer.main

from app.cli.main import app
from app.cli.reference import reference
from app.domain import JobState, SweepState

SLOW_TO_LOAD = ("torch", "polars", "pyarrow", "sqlalchemy", "fastapi", "celery", "httpx")


def commands() -> list[tuple[str, ...]]:
    """The path of every command and group."""
    found: list[tuple[str, ...]] = [()]
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        found.append((name,))
        found += [(name, inner) for inner in getattr(command, "commands", {})]
    return found


def test_the_commands_that_were_promised_are_there() -> None:
    promised = """up api worker submit jobs watch logs cancel fetch train version pause queue"""
    promised += " resume retry clone update move workers sweep sweeps compare"
    assert {(name,) for name in promised.split()} <= set(commands())
    grouped = {("db", "upgrade"), *(("keys", k) for k in ("create", "list", "revoke"))}
    assert grouped | {("data", k) for k in ("synth", "build", "inspect")} <= set(commands())


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_explains_the_command(path: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert "Usage: gogooku3" in shown.stdout
    described = [line for line in shown.stdout.splitlines() if line.startswith("  ")]
    assert described, "no description"


def test_every_argument_and_option_says_what_it_means() -> None:
    root: Any = typer.main.get_command(app)
    silent = []
    for name, command in root.commands.items():
        below = getattr(command, "commands", {"": command})
        for inner, one in below.items():
            parameters = [
                p for deep in getattr(one, "commands", {"": one}).values() for p in deep.params
            ]
            silent += [f"{name} {inner} {p.opts}" for p in parameters if not p.help]
    assert silent == []


@pytest.mark.parametrize(("name", "states"), [("jobs", JobState), ("sweeps", SweepState)])
def test_states_that_may_be_asked_for_are_all_named(name: str, states: type[Enum]) -> None:
    root: Any = typer.main.get_command(app)
    (state,) = [one for one in root.commands[name].params if one.name == "state"]
    assert state.metavar.split("|") == [one.value for one in states]


def test_page_shows_defaults_and_what_is_allowed() -> None:
    page = reference()
    assert "| `--stocks` | int 20 <= x <= 20000 | `300` |" in page
    assert "| `--storage` | `float32` / `float16` | `float32` |" in page
    assert "| `--logs-days` | int 1 <= x <= 36500 | for ever |" in page
    assert "| `--name` | text | required | Name of the dataset. |" in page
    assert "| `--url` | text | `GOGOOKU3_URL`, config.toml, the server in" in page


def test_every_command_answers_programs_too() -> None:
    """But the two that only serve: they log JSON lines."""
    root: Any = typer.main.get_command(app)
    without = set()
    for name, command in root.commands.items():
        below = getattr(command, "commands", {"": command})
        for inner, one in below.items():
            if not any("--json" in parameter.opts for parameter in one.params):
                without.add(f"{name} {inner}".strip())
    assert without - {"data fetch"} == {"api", "worker"}


def test_shell_completes_commands_and_options(gogooku3: Any) -> None:
    def complete(*words: str) -> list[str]:
        line = {"COMP_WORDS": " ".join(["gogooku3", *words]), "COMP_CWORD": str(len(words))}
        return list(gogooku3(_GOGOOKU3_COMPLETE="complete_bash", **line).stdout.split())

    assert complete("su") == ["submit"]
    assert complete("jobs", "--st") == ["--state"]


def test_command_line_starts_without_loading_the_large_packages() -> None:
    code = f"import sys, app.cli.main; print(*set({SLOW_TO_LOAD!r}) & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.split() == []


def test_no_command_imports_the_worker() -> None:
    folder = Path(__file__).parents[2] / "app" / "cli"
    for file in folder.glob("*.py"):
        assert "import worker" not in file.read_text()
        assert "from worker" not in file.read_text()


def test_nothing_asked_shows_the_help_and_says_so_by_its_exit_code(gogooku3: Any) -> None:
    done = gogooku3()
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_version_in_words_and_in_json(gogooku3: Any) -> None:
    import json
    from importlib.metadata import version

    assert version("gogooku3") in gogooku3("version").stdout
    assert json.loads(gogooku3("version", "--json").stdout)["version"] == version("gogooku3")
