"""The short form of `benchmarks/chaos.py`: everything is killed at random, nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A folder with a short path, for the servers' sockets, that every account may pass."""
    home = Path(tempfile.mkdtemp(prefix="gk3-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


def test_nothing_is_lost_while_everything_is_killed(short_home: Path) -> None:
    report = run(
        short_home,
        jobs=4,
        seconds=10,
        seed=3,
        patience_s=400,
        every_s=2.0,
        apis=1,
        workers=2,
        worker_options=["--no-spares"],
    )
    assert report.faults == []
    assert sum(report.states.values()) == 4
    assert sum(report.kills.values()) >= 2
    assert report.looks > 20
