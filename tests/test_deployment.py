"""What is deployed is what there is: the compose file's commands, the dashboard's figures."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from typer.main import get_command

from app.cli.main import app

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_every_service_runs_a_command_that_there_is(compose: dict[str, Any]) -> None:
    ours = {
        name: service
        for name, service in compose["services"].items()
        if service.get("image") == "gogooku3:latest"
    }
    assert {"api", "worker-gpu", "worker-cpu", "worker-control", "migrate"} <= set(ours)
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, service in ours.items():
        first, *rest = service["command"]
        assert first in commands, name
        if first == "db":
            assert rest[0] in commands["db"].commands
            continue
        options = {option for parameter in commands[first].params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, name


def test_what_is_scaled_has_no_name_of_its_own(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "container_name" not in service, name
        if name.startswith("worker"):
            assert "ports" not in service, name
            assert "postgres" in compose["services"], "the truth is kept outside of what is scaled"


def test_dashboard_draws_figures_that_there_are() -> None:
    board = json.loads((ROOT / "docs" / "grafana" / "gogooku3.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"gogooku3_\w+", target["expr"])
    }
    source = (ROOT / "app" / "api" / "figures.py").read_text()
    told = set(re.findall(r'"(gogooku3_\w+)"', source))
    for name in asked:
        plain = re.sub(r"_(total|bucket|count|sum|recent)$", "", name)
        assert name in told or plain in told, name
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_lock_holds_a_fitting_version_of_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    wanted += [one for extra in ("s3", "otel") for one in project["optional-dependencies"][extra]]
    lines = (ROOT / ".ci" / "requirements.lock").read_text().splitlines()
    locked: dict[str, list[Version]] = {}
    for line in lines:
        if found := re.match(r"([a-z0-9-]+)(?:\[[^]]*])?==([^ ;]+)", line):
            locked.setdefault(found[1], []).append(Version(found[2]))
    assert len(locked) > 60
    assert sum("--hash=sha256:" in line for line in lines) > len(locked)
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == "torch":  # which build of it is each machine's own choice
            continue
        assert locked.get(name), f"{name} is not locked: see docs/security.md"
        for version in locked[name]:
            assert version in requirement.specifier, f"{name} {version}: see docs/security.md"
