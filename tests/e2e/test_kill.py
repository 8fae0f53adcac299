"""kill -9 of the trainer, of the worker and of the API during a job: nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow
EPOCHS = 6


class TrainerWatch:
    """Samples how many trainers of a job are alive at once."""

    def __init__(self, stack: Any, job_id: str) -> None:
        self.most = 0
        self._stack = stack
        self._job_id = job_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> TrainerWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self.most = max(self.most, len(self._stack.trainers(self._job_id)))


def kill_one(pids: list[int]) -> None:
    assert pids, "the process to kill is not there"
    os.kill(pids[0], signal.SIGKILL)


def epochs_of(events: list[dict[str, Any]]) -> list[int]:
    return [event["payload"]["epoch"] for event in events if event["type"] == "epoch"]


def validation_of(events: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The validation metrics of each epoch."""
    return [
        {name: value for name, value in event["payload"]["metrics"].items() if "valid/" in name}
        for event in events
        if event["type"] == "epoch"
    ]


def test_job_survives_kills_of_trainer_worker_and_api_as_if_nothing_had_been(
    home: Path, start_stack: Callable[[Path], Any], spec: dict[str, Any]
) -> None:
    stack = start_stack(home)
    spec["config"]["max_epochs"] = EPOCHS
    undisturbed = stack.submit(spec)["id"]
    stack.wait_for(undisturbed, "succeeded", "failed")
    job_id = stack.submit(spec)["id"]
    with TrainerWatch(stack, job_id) as watch:
        stack.wait_for_epoch(job_id, 1)
        kill_one(stack.trainers(job_id))
        stack.wait_for_epoch(job_id, 3)
        kill_one(stack.pids("app.main"))
        time.sleep(1)
        kill_one(stack.pids("worker.main"))
        job = stack.wait_for(job_id, "succeeded", "failed", "cancelled")

    assert job["state"] == "succeeded", job["reason"]
    events = stack.events(job_id)
    assert epochs_of(events) == list(range(1, EPOCHS + 1))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert validation_of(events) == validation_of(stack.events(undisturbed))
    assert watch.most == 1
    assert stack.trainers(job_id) == []
    attempts = httpx.get(f"{stack.url}/v1/jobs/{job_id}/attempts").json()["items"]
    assert [one["outcome"] for one in attempts] == ["failed", "lost", "succeeded"]
    assert attempts[0]["reason"]["class"] == "killed"
    assert len({one["pid"] for one in attempts}) == 3


def test_everything_killed_at_once_then_up_again(
    home: Path, start_stack: Callable[[Path], Any], spec: dict[str, Any]
) -> None:
    spec["config"]["max_epochs"] = EPOCHS
    stack = start_stack(home)
    job_id = stack.submit(spec)["id"]
    stack.wait_for_epoch(job_id, 1)
    doomed = [stack.process.pid, *stack.pids("app.main"), *stack.pids("worker.main")]
    for pid in doomed + stack.trainers(job_id):
        os.kill(pid, signal.SIGKILL)
    stack.process.wait(10)

    again = start_stack(home)
    job = again.wait_for(job_id, "succeeded", "failed")
    assert job["state"] == "succeeded", job["reason"]
    assert epochs_of(again.events(job_id)) == list(range(1, EPOCHS + 1))
