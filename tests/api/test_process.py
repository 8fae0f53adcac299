"""`python -m app.main`: starts, logs, stops, and refuses to be open to everybody."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.db.database import Database
from app.db.migrate import upgrade
from app.domain import Scope
from app.embedded.postgres import EmbeddedPostgres
from app.jobs import keys


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Servers of one's own and an empty home."""
    return dict(os.environ) | {
        "GOGOOKU3_HOME": str(tmp_path),
        "GOGOOKU3_DATABASE_URL": database_url,
        "GOGOOKU3_REDIS_URL": redis_url,
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the process logs to."""
    return tmp_path / "api.log"


Process = subprocess.Popen[bytes]


@pytest.fixture
def started(environment: dict[str, str], port: int, log: Path) -> Iterator[Process]:
    """A running API process on loopback."""
    command = [sys.executable, "-m", "app.main", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stderr=file)
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
            break
        except httpx.ConnectError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_process_serves_and_stops_in_good_order(
    started: Process, port: int, log: Path, number: signal.Signals, code: int
) -> None:
    answer = httpx.get(f"http://127.0.0.1:{port}/v1/jobs", trust_env=False)
    assert answer.status_code == 200
    started.send_signal(number)
    assert started.wait(timeout=30) == code
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line.get("path") == "/v1/jobs" and line["status"] == 200 for line in lines)
    assert not any("traceback" in line for line in lines)


def run_on(host: str, port: int, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The process, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "app.main", "--host", host, "--port", str(port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_process_refuses_another_address_without_a_key(
    environment: dict[str, str], port: int
) -> None:
    ended = run_on("0.0.0.0", port, environment)
    assert ended.returncode == 2
    assert "keys create" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_process_without_servers_says_so(environment: dict[str, str], port: int) -> None:
    del environment["GOGOOKU3_DATABASE_URL"]
    ended = run_on("127.0.0.1", port, environment)
    assert ended.returncode == 2
    assert "gogooku3 up" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_process_on_another_address_wants_the_key(
    environment: dict[str, str], port: int, database_url: str
) -> None:
    database = Database(database_url)
    with database.session() as session:
        _, secret = keys.create(session, "first", Scope.READ)
    database.dispose()
    command = [sys.executable, "-m", "app.main", "--host", "0.0.0.0", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            trust_env=False,
            transport=httpx.HTTPTransport(retries=8),
            timeout=30,
        ) as http:
            assert http.get("/v1/jobs").status_code == 401
            headers = {"Authorization": f"Bearer {secret}"}
            assert http.get("/v1/jobs", headers=headers).status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_process_waits_for_a_database_that_is_still_starting(
    environment: dict[str, str], port: int, log: Path, servers_folder: Path
) -> None:
    server = EmbeddedPostgres(servers_folder / "late")
    environment["GOGOOKU3_DATABASE_URL"] = server.start()
    upgrade(server.url())
    server.stop()
    command = [sys.executable, "-m", "app.main", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while "waiting for the database" not in log.read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.start()
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/v1/jobs", trust_env=False)
                break
            except httpx.ConnectError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert answer.status_code == 200
    finally:
        process.kill()
        process.wait()
        server.stop()


def test_what_the_process_started_with_is_left_out_of_collections(
    environment: dict[str, str],
) -> None:
    code = """
import gc
from app.main import ApiServer, main
ApiServer.run = lambda self: print(gc.get_freeze_count())
main(["--port", "0"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 50_000
