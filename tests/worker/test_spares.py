"""Trainers that wait with torch loaded: taken when they fit, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain import JobState
from worker.child import TRAINER
from worker.devices import Slot, make_slots
from worker.spares import Spares

SCRIPTED = Path(__file__).with_name("scripted_trainer.py")
SLOTS = make_slots(2, ["GPU-a"])
Make = Callable[..., Spares]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Spares of scripted trainers, ended at the end."""
    made: list[Spares] = []

    def make_some(
        script: list[list[Any]] | None = None, slots: list[Slot] | None = None, **more: Any
    ) -> Spares:
        command = (sys.executable, str(SCRIPTED), json.dumps(script or []))
        made.append(Spares(command, slots or SLOTS, tmp_path / "spares", **more))
        return made[-1]

    yield make_some
    for spares in made:
        spares.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_spare_is_taken_once_and_only_where_it_fits(make: Make) -> None:
    spares = make()
    assert spares.take([SLOTS[1]], 2, None) is None  # none yet
    spares.refill()
    assert spares.take(SLOTS, 2, "GPU-a") is None  # several slots
    assert spares.take([SLOTS[0]], 2, None) is None  # the slot's spare sees its GPU
    taken = spares.take([SLOTS[0]], 2, "GPU-a")
    assert taken is not None
    assert spares.take([SLOTS[0]], 2, "GPU-a") is None
    spares.close()
    assert is_running(taken.pid)  # it is the taker's
    taken.kill()
    taken.reap()
    taken.close()


def test_a_job_with_other_thread_caps_gets_a_fresh_process_and_the_next_a_spare(
    make: Make,
) -> None:
    """Thread caps cannot be changed once torch is loaded."""
    spares = make()
    spares.refill()
    assert spares.take([SLOTS[1]], 3, None) is None
    spares.refill()
    taken = spares.take([SLOTS[1]], 3, None)
    assert taken is not None
    environment = Path(f"/proc/{taken.pid}/environ").read_bytes()
    assert b"OMP_NUM_THREADS=3" in environment
    taken.kill()
    taken.reap()
    taken.close()


def test_a_spare_that_has_died_is_replaced(make: Make, bench: Any) -> None:
    spares = make(slots=[SLOTS[1]])
    spares.refill()
    (first,) = spares.pids()
    os.kill(first, signal.SIGKILL)
    bench.wait(lambda: not is_running(first))
    assert spares.take([SLOTS[1]], 2, None) is None
    spares.refill()
    (second,) = spares.pids()
    assert second != first
    spares.close()
    assert not is_running(second)
    spares.refill()
    assert spares.pids() == []  # closed is closed


def test_a_run_in_a_spare_is_like_any_other(make: Make, bench: Any) -> None:
    job_id = bench.submit(epochs=1)
    start = ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]
    script = [start, ["print", "hello"], ["epoch", 1], ["resume_point", 1], ["end", "completed"]]
    slot = Slot(0, None)
    spares = make(script, [slot], cpu_threads=1)
    spares.refill()
    (pid,) = spares.pids()
    bench.supervisor(bench.place(script, spares=spares), [slot]).run()
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED, job.reason
    assert job.provenance["pid"] == bench.attempts(job_id)[0].pid == pid
    assert set(job.provenance["threads"].values()) == {"1"}
    assert "hello" in bench.log(job_id)
    assert (bench.artifacts / job_id / "attempt-1" / "resume.pt").is_file()
    assert not is_running(pid)


def test_the_real_trainer_waits_with_torch_loaded(make: Make, bench: Any) -> None:
    slot = Slot(0, None)
    spares = Spares(TRAINER, [slot], bench.home / "spares", cpu_threads=1)
    try:
        spares.refill()
        (pid,) = spares.pids()
        bench.wait(lambda: "libtorch" in Path(f"/proc/{pid}/maps").read_text())
        job_id = bench.submit(epochs=2)
        bench.supervisor(bench.place([], spares=spares), [slot]).run()
    finally:
        spares.close()
    assert bench.job(job_id).state is JobState.SUCCEEDED, bench.job(job_id).reason
    assert bench.epochs(job_id) == [1, 2]
    assert bench.job(job_id).provenance["pid"] == pid
    assert "torch loaded" in bench.log(job_id)


@pytest.mark.slow
def test_spares_end_with_their_worker_however_that_ends(bench: Any) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        worker = bench.start_worker(spares=True)
        folder = bench.home / "logs" / "spares"
        bench.wait(lambda: spare_pids(folder))  # noqa: B023
        pids = spare_pids(folder)
        worker.send_signal(number)
        worker.wait(40)
        bench.wait(lambda: not any(is_running(pid) for pid in pids))  # noqa: B023


def spare_pids(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(folder) and is_running(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
