"""The whole stack as a user starts it: `gogooku3 up` in a home of its own, and a dataset."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gogooku3.data.header import read_header


@dataclass
class Stack:
    """A running `gogooku3 up`."""

    home: Path
    url: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What a client or another command of the same installation needs."""
        return stack_environment(self.home) | {"GOGOOKU3_URL": self.url}

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A `gogooku3` command against this stack."""
        return run_command(self.environment, *arguments, timeout=timeout)

    def pids(self, module: str) -> list[int]:
        """The live processes of this stack that run `python -m module`."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
            command = process.info["cmdline"] or []
            home = (process.info["environ"] or {}).get("GOGOOKU3_HOME")
            alive = process.info["status"] != psutil.STATUS_ZOMBIE
            if module in command and home == str(self.home) and alive:
                found.append(int(process.info["pid"]))
        return found

    def trainers(self, job_id: str) -> list[int]:
        """The live trainer processes of a job: those that write its log."""
        log = str(self.home / "artifacts" / job_id / "log.txt")
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            if "gogooku3.training.run" not in (process.info["cmdline"] or []):
                continue
            if process.info["status"] == psutil.STATUS_ZOMBIE:
                continue
            if _writes(int(process.info["pid"]), log):
                found.append(int(process.info["pid"]))
        return found

    def submit(self, spec: dict[str, Any], **headers: str) -> dict[str, Any]:
        """POST a job; its answer."""
        answer = httpx.post(f"{self.url}/v1/jobs", json=spec, headers=headers, timeout=30)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        """GET a job, patient while the API is being restarted."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = httpx.get(f"{self.url}/v1/jobs/{job_id}", timeout=10)
                answer.raise_for_status()
                return dict(answer.json())
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Every event of a job, from the first."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            answer = httpx.get(
                f"{self.url}/v1/jobs/{job_id}/events",
                params={"after": after, "limit": 500},
                timeout=30,
            )
            answer.raise_for_status()
            page = answer.json()["items"]
            if not page:
                return found
            found += page

    def wait_for(self, job_id: str, *states: str, timeout: float = 240) -> dict[str, Any]:
        """Wait until the job is in one of the states."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if job["state"] in states:
                return job
            time.sleep(0.3)
        log = self.home / "artifacts" / job_id / "log.txt"
        tail = log.read_text()[-3000:] if log.exists() else "(no log)"
        raise AssertionError(f"{job_id} is {job['state']}, not {states}: {job}\n{tail}")

    def wait_for_epoch(self, job_id: str, epoch: int, timeout: float = 240) -> None:
        """Wait until the job's epoch has been recorded."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (self.job(job_id)["progress"] or {}).get("epoch", 0) > epoch:
                return
            if any(
                e["type"] == "epoch" and e["payload"]["epoch"] >= epoch for e in self.events(job_id)
            ):
                return
            time.sleep(0.2)
        raise AssertionError(f"{job_id} never reached epoch {epoch}")


def _writes(pid: int, path: str) -> bool:
    """Whether a process has `path` open."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        return any(os.readlink(entry) == path for entry in folder.iterdir())
    except OSError:  # the process ended while we looked
        return False


def stack_environment(home: Path) -> dict[str, str]:
    """The environment of a stack in `home`, nothing of the caller's settings in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GOGOOKU3_")}
    return kept | {"GOGOOKU3_HOME": str(home), "GOGOOKU3_LEASE_S": "6"}


def run_command(
    environment: dict[str, str], *arguments: str, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """The `gogooku3` command of this environment."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("gogooku3")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path) -> Stack:
    """`gogooku3 up` in `home`, waited for until it is ready; without trainers that wait, which
    cost every start and every job seconds of the processor."""
    port = free_port()
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("gogooku3")),
            "up",
            "--port",
            str(port),
            "--no-spares",
        ],
        env=stack_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    stack = Stack(home=home, url=f"http://127.0.0.1:{port}", process=process)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output = process.stdout.read().decode() if process.stdout else ""
            raise AssertionError(f"`gogooku3 up` ended with {process.returncode}:\n{output}")
        try:
            if httpx.get(f"{stack.url}/readyz", timeout=2).status_code == 200:
                return stack
        except httpx.HTTPError:
            pass  # not listening yet: asked again below, until the deadline
        time.sleep(0.2)
    stop(stack)
    raise AssertionError("`gogooku3 up` was not ready within 90 s")


def stop(stack: Stack) -> int:
    """Ctrl-C to `up`; its exit code."""
    if stack.process.poll() is None:
        stack.process.send_signal(signal.SIGINT)
    try:
        code = stack.process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        stack.process.kill()
        raise
    finally:
        if stack.process.stdout:
            stack.process.stdout.close()
    return code


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the dataset `tiny` in it, to be copied from."""
    home = tmp_path_factory.mktemp("market")
    made = run_command(
        stack_environment(home),
        *("data", "synth", "tiny", "--stocks", "30", "--days", "200", "--seed", "5"),
    )
    assert made.returncode == 0, made.stderr
    return home / "caches" / "tiny.arrow"


@pytest.fixture(scope="session")
def split(market: Path) -> dict[str, Any]:
    """A split of `tiny` by its own calendar, small enough for epochs of a second."""
    calendar = [day.isoformat() for day in read_header(market).calendar]
    return {
        "train_start": calendar[int(len(calendar) * 0.4)],
        "train_end": calendar[int(len(calendar) * 0.6)],
        "valid_end": calendar[int(len(calendar) * 0.75)],
        "embargo_days": 0,
    }


def new_home(folder: Path, market: Path) -> Path:
    """A fresh home in `folder` that has the dataset."""
    caches = folder / "home" / "caches"
    caches.mkdir(parents=True)
    (caches / "tiny.arrow").hardlink_to(market)
    return caches.parent


@pytest.fixture
def home(tmp_path: Path, market: Path) -> Path:
    """A fresh home that has the dataset."""
    return new_home(tmp_path, market)


@pytest.fixture
def start_stack() -> Iterator[Callable[[Path], Stack]]:
    """Starts a stack in a home; whatever still runs at the end is ended with Ctrl-C."""
    started: list[Stack] = []

    def start_one(home: Path) -> Stack:
        started.append(start(home))
        return started[-1]

    yield start_one
    for stack in started:
        stop(stack)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, market: Path) -> Iterator[Stack]:
    """A running stack that the tests share: none may assume that it is alone there."""
    running = start(new_home(tmp_path_factory.mktemp("stack"), market))
    yield running
    assert stop(running) == 0


@pytest.fixture
def spec(split: dict[str, Any]) -> dict[str, Any]:
    """A job of a few quick epochs on `tiny`."""
    return {
        "name": "small",
        "dataset": "tiny",
        "config": {
            "max_epochs": 4,
            "data": {"lookback": 10, "horizons": [1, 5], "split": split},
            "model": {"hidden_size": 16, "gat": {"layers": 1}, "graph": {"window": 20}},
            "batch": {"days_per_step": 8},
        },
        "resources": {"cpu_threads": 1},
    }
