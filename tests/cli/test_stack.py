"""`gogooku3 up`: everything starts, survives kill -9 of any part, and stops without a trace."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from app.embedded.home import UpRecord, read_up, start_ticks

COMMAND = Path(sys.executable).with_name("gogooku3")
PARTS = ("PostgreSQL", "Valkey", "the API", "the worker")


class Up:
    """A running `gogooku3 up --port 0 --json`; without trainers that wait, unless asked for."""

    def __init__(
        self, home: Path, environment: dict[str, str], *options: str, spares: bool = False
    ) -> None:
        self.home = home
        options = options if spares else (*options, "--no-spares")
        self.process = subprocess.Popen(
            [COMMAND, "up", "--port", "0", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 90)
        line = self.process.stdout.readline() if readable else ""
        assert line, f"not up: {self.end(signal.SIGKILL)}"
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["url"]

    @property
    def record(self) -> UpRecord:
        record = read_up(self.home)
        assert record is not None
        return record

    def pids(self) -> dict[str, int]:
        return {child.name: child.pid for child in self.record.children}

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        """Send a signal; what was said to standard error by the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=90)
        return said


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(what: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def up(home: Path, environment: dict[str, str]) -> Iterator[Callable[..., Up]]:
    """Starts servers in the home; ends them when the test ends."""
    started: list[Up] = []

    def start(*options: str, spares: bool = False) -> Up:
        started.append(Up(home, environment, *options, spares=spares))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


@pytest.mark.slow
def test_up_until_ctrl_c(up: Callable[..., Up], gogooku3: Any, home: Path) -> None:
    running = up("--slots", "2", spares=True)
    assert is_ready(running.url)
    assert running.ready["pid"] == running.process.pid
    assert running.ready["home"] == str(home)
    pids = running.pids()
    assert set(pids) == set(PARTS)
    logs = {file.name for file in (home / "logs").iterdir() if file.is_file()}
    assert logs == {"api.log", "worker.log"}
    assert (home / "up.json").stat().st_mode & 0o077 == 0, "it holds the database's password"

    workers = httpx.get(f"{running.url}/v1/workers", trust_env=False).json()["items"]
    assert [worker["slots"] for worker in workers] == [2]

    wait_until((home / "logs" / "spares").is_dir)

    # The address of the server in the home is found without being told.
    assert gogooku3("jobs", "--json").stdout == '{"items": []}\n'

    second = gogooku3("up", "--port", "0")
    assert second.returncode == 1
    assert str(running.process.pid) in second.stderr
    assert running.url in second.stderr
    assert is_ready(running.url), "the second `up` disturbed the first"

    said = running.end()
    assert running.process.returncode == 0
    assert said.endswith("stopped\n")
    assert [pid for pid in pids.values() if psutil.pid_exists(pid)] == []
    assert not (home / "up.json").exists()
    assert not is_ready(running.url)


@pytest.mark.slow
def test_whatever_is_killed_comes_back_and_what_was_written_is_there(
    up: Callable[..., Up], gogooku3: Any, home: Path
) -> None:
    running = up()
    key = json.loads(gogooku3("keys", "create", "me", "--scope", "admin", "--json").stdout)
    before = running.pids()
    for name in PARTS:
        pid = running.pids()[name]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda name=name, pid=pid: running.pids().get(name, pid) != pid)
    wait_until(lambda: is_ready(running.url))
    after = running.pids()
    assert {name for name in PARTS if after[name] != before[name]} == set(PARTS)
    assert key["id"] in gogooku3("keys", "list").stdout
    children = running.record.children
    said = running.end(signal.SIGKILL)
    for name in PARTS:
        assert f"{name} ended unexpectedly; starting it again" in said

    again = up()
    assert is_ready(again.url)
    assert key["id"] in gogooku3("keys", "list").stdout
    left = [child.name for child in children if start_ticks(child.pid) == child.started]
    assert left == []
    pids = again.pids()
    again.end(signal.SIGTERM)
    assert [pid for pid in pids.values() if psutil.pid_exists(pid)] == []
    assert not (home / "logs" / "spares").exists(), "--no-spares was not passed on"


@pytest.mark.slow
def test_beyond_loopback_up_needs_a_key_first(up: Callable[..., Up], gogooku3: Any) -> None:
    refused = gogooku3("up", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert "without an API key" in refused.stderr
    assert "Traceback" not in refused.stderr

    made = gogooku3("keys", "create", "me", "--scope", "read")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    running = up("--host", "0.0.0.0")
    assert httpx.get(f"{running.url}/v1/jobs", trust_env=False).status_code == 401
    assert gogooku3("jobs", "--json").returncode == 1
    allowed = gogooku3("jobs", "--json", GOGOOKU3_API_KEY=secret)
    assert json.loads(allowed.stdout) == {"items": []}


def test_a_port_in_use_is_an_error_that_says_so(gogooku3: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = gogooku3("up", "--port", str(port))
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_setting_is_named(gogooku3: Any) -> None:
    refused = gogooku3("up", GOGOOKU3_DATABASE_URL="sqlite:///x")
    assert refused.returncode == 2
    assert "postgresql+psycopg://" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_servers_of_your_own_are_used_and_left_running(
    home: Path, environment: dict[str, str], postgres_url: str, database_url: str, redis_url: str
) -> None:
    environment |= {"GOGOOKU3_DATABASE_URL": database_url, "GOGOOKU3_REDIS_URL": redis_url}
    running = Up(home, environment)
    assert set(running.pids()) == {"the API", "the worker"}
    assert is_ready(running.url)
    assert not (home / "pg").exists()
    assert not (home / "valkey").exists()
    running.end()
    with psycopg.connect(postgres_url.replace("+psycopg", "", 1)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
