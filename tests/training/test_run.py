"""The trainer process: what it is told, what it tells, and how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import TrainConfig
from gogooku3.events import RunRequest
from gogooku3.lifeline import EXIT_CODE
from gogooku3.pipe import EXIT_FAILED, EXIT_INTERRUPTED

LONG = {"max_epochs": 500}


class Trainer:
    """A trainer process with its pipes."""

    def __init__(self, request: str, log: Path, *, lifeline: bool = False) -> None:
        events_fd, child_events = os.pipe()
        child_lifeline, self.lifeline_fd = os.pipe()
        command = [sys.executable, "-m", "gogooku3.training.run", "--events-fd", str(child_events)]
        if lifeline:
            command += ["--lifeline-fd", str(child_lifeline)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(child_events, child_lifeline),
                env={**os.environ, "MKL_NUM_THREADS": "1"},
                start_new_session=True,
            )
        os.close(child_events)
        os.close(child_lifeline)
        # A small pipe is soon full when nobody reads it.
        fcntl.fcntl(events_fd, fcntl.F_SETPIPE_SZ, 4096)
        self.pipe = os.fdopen(events_fd)
        assert self.process.stdin is not None
        self.process.stdin.write(request.encode())
        self.process.stdin.close()

    def read_until(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        for line in self.pipe:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == kind:
                return event
        raise AssertionError(f"the trainer ended with {self.process.wait()} before any {kind}")

    def beat(self) -> None:
        os.write(self.lifeline_fd, struct.pack("<d", time.monotonic()))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.pipe.close()
        if self.lifeline_fd >= 0:
            os.close(self.lifeline_fd)


@pytest.fixture
def start(
    tiny: Path, tmp_path: Path, make_config: Callable[..., TrainConfig]
) -> Iterator[Callable[..., Trainer]]:
    started: list[Trainer] = []

    def begin(*, lifeline: bool = False, request: str | None = None, **given: Any) -> Trainer:
        changes = given.pop("changes", {"max_epochs": 1})
        asked: dict[str, Any] = {
            "config": make_config(**changes),
            "dataset": tiny,
            "out_dir": tmp_path / "out",
            "cpu_threads": 1,
        }
        text = request or RunRequest(**(asked | given)).model_dump_json()
        started.append(Trainer(text, tmp_path / "log.txt", lifeline=lifeline))
        return started[-1]

    yield begin
    for trainer in started:
        trainer.close()


def test_a_whole_run_and_its_provenance(start: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = start(cpu_threads=2)
    events = [json.loads(line) for line in trainer.pipe]
    assert trainer.process.wait() == 0
    kinds = [event["type"] for event in events if event["type"] != "progress"]
    assert kinds == ["start", "epoch", "checkpoint", "resume_point", "end"]
    provenance = events[0]["provenance"]
    assert provenance["pid"] == trainer.process.pid
    assert provenance["threads"] == 2  # what was asked, not what the environment says
    assert provenance["interop_threads"] == 2
    assert provenance["variables"]["OMP_NUM_THREADS"] == "1"
    assert provenance["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert provenance["device"] == "cpu"
    assert provenance["precision"] == "fp32"
    assert provenance["parameters"] > 0
    assert (tmp_path / "out" / "epoch-0001.gk3").exists()
    assert events[-1]["outcome"] == "completed"
    # The log is for people: a line for each thing worth reading, nothing else.
    lines = (tmp_path / "log.txt").read_text().splitlines()
    told = ("begins", "training on cpu", "epoch 1 in", "wrote epoch-0001.gk3", "completed")
    assert len(lines) == len(told)
    for line, words in zip(lines, told, strict=True):
        assert words in line


def test_sigterm_writes_the_resume_state_and_ends(
    start: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = start(changes=LONG)
    trainer.read_until("epoch")
    trainer.process.send_signal(signal.SIGTERM)
    assert trainer.read_until("end")["outcome"] == "interrupted"
    assert trainer.process.wait(30) == EXIT_INTERRUPTED
    assert (tmp_path / "out" / "resume.pt").exists()


def test_a_reader_that_is_gone_ends_the_run(start: Callable[..., Trainer]) -> None:
    trainer = start(changes=LONG)
    trainer.read_until("epoch")
    trainer.pipe.close()
    assert trainer.process.wait(30) == EXIT_INTERRUPTED


def test_a_supervisor_that_is_gone_ends_the_run(start: Callable[..., Trainer]) -> None:
    trainer = start(lifeline=True, changes=LONG, lease_s=60.0)
    trainer.read_until("epoch")
    os.close(trainer.lifeline_fd)
    trainer.lifeline_fd = -1
    assert trainer.read_until("end")["outcome"] == "interrupted"
    assert trainer.process.wait(30) == EXIT_INTERRUPTED


def test_a_trainer_that_hangs_ends_with_its_lease(start: Callable[..., Trainer]) -> None:
    """Nobody reads its events: the full pipe holds the main thread, the lifeline does not wait."""
    trainer = start(lifeline=True, changes={"max_epochs": 10_000}, lease_s=12.0)
    fcntl.fcntl(trainer.pipe, fcntl.F_SETPIPE_SZ, 4096)
    assert trainer.process.wait(60) == EXIT_CODE


def test_renewals_keep_a_short_lease_alive(start: Callable[..., Trainer]) -> None:
    trainer = start(lifeline=True, changes=LONG, lease_s=6.0)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(0.2):
            trainer.beat()

    supervisor = threading.Thread(target=renew)
    supervisor.start()
    until = time.monotonic() + 9
    while time.monotonic() < until:
        trainer.read_until("epoch")
    over.set()
    supervisor.join()
    assert trainer.process.poll() is None


@pytest.mark.parametrize(
    ("given", "failure_class", "code"),
    [
        ({"dataset": Path("/nowhere.arrow")}, "data", "unknown-dataset"),
        ({"request": "{}"}, "user", "invalid-request"),
    ],
    ids=["dataset", "request"],
)
def test_a_failure_is_the_last_event(
    start: Callable[..., Trainer], given: dict[str, Any], failure_class: str, code: str
) -> None:
    trainer = start(**given)
    failure = trainer.read_until("failure")
    assert failure["failure_class"] == failure_class
    assert failure["code"] == code
    assert trainer.pipe.read() == ""
    assert trainer.process.wait(30) == EXIT_FAILED
