"""A killed `up` leaves processes: they are ended, and nobody else's are."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cli import leftovers
from app.cli.leftovers import end_leftovers
from app.embedded.home import ChildRecord, UpRecord, read_up, start_ticks, write_up

Spawn = Callable[[str], subprocess.Popen[bytes]]
POLITE = "import time; time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    children: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def record(home: Path, name: str, pid: int, started: int) -> None:
    write_up(
        home,
        UpRecord(
            pid=1,
            started=0,
            url="http://127.0.0.1:1",
            database_url="",
            redis_url="",
            children=(ChildRecord(name=name, pid=pid, started=started),),
        ),
    )


def test_nothing_recorded_nothing_ended(tmp_path: Path) -> None:
    said: list[str] = []
    end_leftovers(tmp_path, said.append)
    assert said == []


@pytest.mark.parametrize("code", [POLITE, STUBBORN], ids=["polite", "stubborn"])
def test_a_recorded_process_is_ended(
    tmp_path: Path, spawn: Spawn, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE_S", 0.5)
    child = spawn(code)
    if code is STUBBORN:
        assert child.stdout is not None
        child.stdout.readline()
    record(tmp_path, "the worker", child.pid, start_ticks(child.pid) or 0)
    said: list[str] = []
    end_leftovers(tmp_path, said.append)
    assert child.wait(5) != 0
    assert said == ["ending what an earlier `gogooku3 up` left running"]
    assert read_up(tmp_path) is None


def test_another_process_under_a_recorded_pid_is_left_alone(tmp_path: Path, spawn: Spawn) -> None:
    child = spawn(POLITE)
    record(tmp_path, "the worker", child.pid, (start_ticks(child.pid) or 0) - 1)
    end_leftovers(tmp_path, lambda line: None)
    time.sleep(0.2)
    assert child.poll() is None
    assert read_up(tmp_path) is None
