"""The installed `gogooku3` command in a home of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gogooku3")
_numbers = itertools.count(1)
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(servers_folder: Path) -> Path:
    """An empty home with a short path, which PostgreSQL's account can reach."""
    folder = servers_folder / f"cli-{next(_numbers)}"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """This process's environment with no settings but the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOGOOKU3_")}
    return {**kept, "GOGOOKU3_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def gogooku3(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs the command in an empty folder; its output is a pipe."""

    def run(
        *arguments: str | Path, stdin: str = "", timeout: float = 120.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**environment, **variables},
            check=False,
        )

    return run
