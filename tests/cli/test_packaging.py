"""The Makefile, the image and the compose file say what they do and name only what exists."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from app.cli.main import app
from app.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def make(*arguments: str) -> str:
    """What make would run, or what it says."""
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def test_compose_has_the_services_of_the_design(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "valkey", "migrate", "api", "worker-gpu", "worker-control"} <= set(services)
    for name in ("api", "worker-gpu", "worker-control"):
        needs = services[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["valkey"]["condition"] == "service_healthy"
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]
    assert services["migrate"]["restart"] == "no"


def test_compose_runs_commands_that_exist_with_options_that_exist(compose: dict[str, Any]) -> None:
    root: Any = typer.main.get_command(app)
    ours = [one for one in compose["services"].values() if one["image"].startswith("gogooku3")]
    assert len(ours) >= 4
    for service in ours:
        words = list(service["command"])
        command: Any = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), service["command"]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_compose_sets_only_settings_that_exist(compose: dict[str, Any]) -> None:
    known = {f"GOGOOKU3_{name.upper()}" for name in Settings.model_fields}
    for service in compose["services"].values():
        given = {name for name in service.get("environment", {}) if name.startswith("GOGOOKU3_")}
        assert given <= known


def test_compose_can_set_every_setting(compose: dict[str, Any]) -> None:
    wanted = {f"GOGOOKU3_{name.upper()}" for name in Settings.model_fields} | {"JQUANTS_API_KEY"}
    for name in ("api", "worker-gpu", "worker-cpu", "worker-control", "migrate"):
        assert wanted <= set(compose["services"][name]["environment"]), name


def test_image_has_the_extras_of_a_server_and_the_page_lists_all() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    chosen = re.search(r'^ARG EXTRAS="([^"]+)"$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert chosen
    in_image = set(chosen[1].split(","))
    assert in_image == extras - {"dev", "docs", "pyg"}
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z0-9]+)` \| .* \| (yes|no) \|$", page, re.MULTILINE))
    assert listed == {name: "yes" if name in in_image else "no" for name in extras}


def test_compose_stores_no_password(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]
    api = compose["services"]["api"]["environment"]["GOGOOKU3_DATABASE_URL"]
    assert postgres.startswith("${POSTGRES_PASSWORD:?")
    assert ":${POSTGRES_PASSWORD:?" in api


def test_image_runs_as_an_ordinary_user() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last = max(index for index, line in enumerate(lines) if line.startswith("FROM "))
    assert [line for line in lines[last:] if line.startswith("USER ")] == ["USER gogooku3"]
    assert 'ENTRYPOINT ["gogooku3"]' in lines


def test_image_copies_every_package_and_its_context_has_them() -> None:
    packages = re.findall(r'"([a-z0-9]+)\*"', (ROOT / "pyproject.toml").read_text())
    assert len(packages) == 4
    dockerfile, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()
    for package in packages:
        assert f"COPY {package} {package}" in dockerfile
        assert f"!{package}\n" in ignored


def test_image_and_makefile_install_torch_first_and_pin_what_the_project_pins() -> None:
    pinned = re.search(r'"(torch==[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned
    for file in ("Dockerfile", "Makefile"):
        text = (ROOT / file).read_text()
        assert pinned[1] in text, file
        assert text.index('"${TORCH}"' if file == "Dockerfile" else '"$(TORCH)"') < text.index(
            'pip install ".$' if file == "Dockerfile" else '--editable ".[dev]"'
        )


def test_make_test_checks_before_it_tests_and_installs_before_both() -> None:
    steps = make("--dry-run", "--always-make", "test")
    wanted = ("venv", "torch==", "--editable", "ruff check", "mypy", "lint-imports", "pytest")
    order = [steps.index(step) for step in wanted]
    assert order == sorted(order)


def test_make_install_does_nothing_when_all_is_installed(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / ".installed").touch()
    assert "installing" not in make("install", f"VENV={venv}")
    assert "installing" in make("--dry-run", "install", f"VENV={tmp_path / 'other'}")


def test_make_says_which_python_it_needs_when_there_is_none(tmp_path: Path) -> None:
    said = make("install", f"VENV={tmp_path / 'venv'}", "PYTHON=")
    assert "needs Python 3.11" in said
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_prints_and_runs_make_test() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-2:] == ['echo "make test"', "exec make test"]
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
