"""Servers of the test's own, which it may kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that every user may pass."""
    folder = Path(tempfile.mkdtemp(prefix="gk3e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_postgres() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    """Makes servers that are stopped after the test."""
    made: list[EmbeddedPostgres] = []

    def make(folder: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def make_valkey() -> Iterator[Callable[[Path], EmbeddedValkey]]:
    """Makes servers that are stopped after the test."""
    made: list[EmbeddedValkey] = []

    def make(folder: Path) -> EmbeddedValkey:
        made.append(EmbeddedValkey(folder))
        return made[-1]

    yield make
    for server in made:
        server.stop()
