"""A child that does nothing any more is noticed; one that works, or was just not heard, is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain import JobState
from worker import watchdog
from worker.log import cut
from worker.watchdog import Watchdog


class Clock:
    """A time that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that sleeps, in a session of its own."""
    code = "import time; print(flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    yield child.pid
    child.kill()
    child.communicate()


def ticking(dog: Watchdog, clock: Clock, seconds: float) -> str | None:
    """The last verdict after so many seconds of looking."""
    said = None
    for _ in range(round(seconds / 2)):
        clock.now += 2.0
        said = dog.verdict()
    return said


def test_an_idle_child_is_noticed_after_a_while(sleeper: int) -> None:
    clock = Clock()
    dog = Watchdog(sleeper, clock)
    assert ticking(dog, clock, watchdog.IDLE_S - 10) is None
    dog.heard()
    assert ticking(dog, clock, watchdog.IDLE_S - 10) is None
    assert "no processor time" in (ticking(dog, clock, 20) or "")


def test_a_suspended_child_is_noticed_soon(sleeper: int) -> None:
    clock = Clock()
    dog = Watchdog(sleeper, clock)
    ticking(dog, clock, 4)
    os.kill(sleeper, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper, os.WSTOPPED | os.WNOWAIT)
    assert "SIGSTOP" in (ticking(dog, clock, watchdog.STOPPED_S + 6) or "")


def test_our_own_sleep_is_not_the_childs(sleeper: int) -> None:
    clock = Clock()
    dog = Watchdog(sleeper, clock)
    ticking(dog, clock, 4)
    clock.now += 2 * watchdog.IDLE_S
    assert dog.verdict() is None


def test_a_working_child_is_left_alone() -> None:
    clock = Clock()
    dog = Watchdog(os.getsid(0), clock)
    for _ in range(4):
        sum(range(2_000_000))
        assert ticking(dog, clock, watchdog.IDLE_S - 10) is None
        dog.heard()


def test_a_suspended_trainer_is_killed_and_its_job_tried_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "STOPPED_S", 1.0)
    monkeypatch.setattr(watchdog, "LOOK_S", 0.3)
    job_id = bench.submit()
    supervisor = bench.supervisor(
        bench.place([["epoch", 1], ["resume_point", 1], ["signal", signal.SIGSTOP]])
    )
    running = threading.Thread(target=supervisor.run)
    running.start()
    running.join(30)
    assert not running.is_alive()
    job = bench.job(job_id)
    assert job.state is JobState.QUEUED
    assert (job.reason["class"], job.reason["code"]) == ("infra", "stuck")
    assert "SIGSTOP" in job.reason["message"]
    assert bench.epochs(job_id) == [1]


def test_a_log_that_is_too_long_loses_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("ab") as child:  # as the trainer holds it: appending
        child.write(b"".join(b"line %06d\n" % n for n in range(1000)))
        child.flush()
        assert not cut(log, longest=12_000, kept=60)
        assert cut(log, longest=10_000, kept=60)
        child.write(b"and on\n")
        child.flush()
    lines = log.read_text().splitlines()
    assert lines[0] == "=== the first 11952 bytes of this log were dropped ==="
    assert lines[1:] == ["line 000996", "line 000997", "line 000998", "line 000999", "and on"]


def test_a_chatty_trainer_does_not_fill_the_disk(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut, "__defaults__", (10_000, 2_000))
    job_id = bench.submit()
    talk = [["print", "x" * 900]] * 40
    bench.run([*talk, ["sleep", 2.5], *talk[:3], ["end", "completed"], ["exit", 0]])
    log = bench.log(job_id)
    assert len(log) < 10_000
    assert "of this log were dropped" in log
    assert "attempt 1 ended" in log
