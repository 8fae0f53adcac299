"""One attempt: what a trainer reports is recorded, and however it ends the job moves on."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from app.artifacts import SharedArtifacts
from app.broker.wake import STREAM
from app.domain import JobState
from app.jobs.cancel import cancel
from worker.devices import Slot

END = [["end", "completed"], ["exit", 0]]


def provenance(bench: Any, job_id: str) -> list[Any]:
    return ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]


def test_a_run_is_recorded(bench: Any) -> None:
    job_id = bench.submit(epochs=2)
    bench.run(
        [
            provenance(bench, job_id),
            ["print", "hello from the trainer"],
            *(["progress", n] for n in range(5)),
            ["epoch", 1],
            ["checkpoint", 1],
            ["resume_point", 1],
            ["epoch", 2],
            *END,
        ]
    )
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == [1, 2]
    assert [c.path for c in bench.checkpoints(job_id)] == [f"{job_id}/attempt-1/epoch-0001.gk3"]
    (attempt,) = bench.attempts(job_id)
    assert (attempt.outcome, attempt.exit_code, attempt.last_epoch) == ("succeeded", 0, 2)
    assert attempt.resume_path == f"{job_id}/attempt-1/resume.pt"
    assert attempt.pid == job.provenance["pid"]
    assert re.search(
        r"attempt 1 begins.*\nhello from the trainer\n.*attempt 1 ended, succeeded",
        bench.log(job_id),
    )


def test_listeners_are_woken_up_to_the_last_event(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([provenance(bench, job_id), ["epoch", 1], ["sleep", 1.2], ["epoch", 2], *END])
    with redis.Redis.from_url(bench.redis_url, decode_responses=True) as client:
        wakes = [fields for _, fields in client.xrange(STREAM)]
    assert {wake["job"] for wake in wakes} == {job_id}
    assert len(wakes) >= 2
    assert int(wakes[-1]["seq"]) == bench.job(job_id).last_seq


def test_the_trainer_gets_its_request_its_threads_and_no_credentials(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOGOOKU3_DATABASE_URL", "postgresql+psycopg://u:secret@/d")
    monkeypatch.setenv("GOGOOKU3_API_KEY", "gk_secret")
    monkeypatch.setenv("JQUANTS_API_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    job_id = bench.submit(epochs=4, resources={"cpu_threads": 3, "gpus": 0})
    place = bench.place([provenance(bench, job_id), *END])
    bench.supervisor(place, [Slot(0, "GPU-1234")]).run()
    told = bench.job(job_id).provenance
    assert told["secrets"] == []
    assert told["cuda"] == ""  # the job asked for no GPU
    assert set(told["threads"].values()) == {"3"}
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"} <= set(told["threads"])
    request = told["request"]
    assert request["config"]["max_epochs"] == 4
    assert request["dataset"] == str(bench.home / "caches" / "tiny.arrow")
    assert request["out_dir"] == str(bench.artifacts / job_id / "attempt-1")
    assert (request["cpu_threads"], request["device"]) == (3, "cpu")
    assert request["lease_s"] == place.lease_s


def test_a_job_that_asks_for_a_gpu_gets_the_slots(bench: Any) -> None:
    job_id = bench.submit(resources={"cpu_threads": 1, "gpus": 1})
    place = bench.place([provenance(bench, job_id), *END])
    bench.supervisor(place, [Slot(0, "GPU-1234")]).run()
    told = bench.job(job_id).provenance
    assert (told["cuda"], told["request"]["device"]) == ("GPU-1234", "cuda:0")


@pytest.mark.parametrize(
    ("script", "state", "failure", "code"),
    [
        ([["exit", 1]], JobState.QUEUED, "infra", "exit"),
        ([["signal", signal.SIGKILL]], JobState.QUEUED, "killed", "killed"),
        ([["signal", signal.SIGSEGV]], JobState.QUEUED, "killed", "killed"),
        ([["failure", "user", "bad"], ["exit", 4]], JobState.FAILED, "user", "bad"),
        ([["failure", "data", "bad"], ["exit", 4]], JobState.FAILED, "data", "bad"),
        ([["failure", "oom", "oom"], ["exit", 4]], JobState.FAILED, "oom", "oom"),
        ([["failure", "diverged", "nan"], ["exit", 4]], JobState.FAILED, "diverged", "nan"),
        ([["failure", "infra", "disk"], ["exit", 4]], JobState.QUEUED, "infra", "disk"),
        ([["failure", "odd", "odd"], ["exit", 4]], JobState.QUEUED, "infra", "odd"),
        ([["end", "interrupted"], ["exit", 3]], JobState.QUEUED, "killed", "interrupted"),
    ],
)
def test_only_what_a_retry_can_fix_is_retried(
    bench: Any, script: list[list[Any]], state: JobState, failure: str, code: str
) -> None:
    job_id = bench.submit()
    bench.run([["print", "the last words"], *script])
    job = bench.job(job_id)
    assert job.state is state
    assert (job.reason["class"], job.reason["code"]) == (failure, code)
    assert job.attempts_used == 1
    if code == "exit":
        assert "the last words" in job.reason["message"]


def test_retries_end_at_max_attempts(bench: Any) -> None:
    job_id = bench.submit(limits={"max_attempts": 1})
    bench.run([["epoch", 1], ["signal", signal.SIGKILL]])
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert "SIGKILL" in job.reason["message"]
    assert bench.epochs(job_id) == [1]


def test_a_finished_run_counts_although_the_process_crashes_on_its_way_out(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([["epoch", 1], ["end", "stopped_early"], ["signal", signal.SIGSEGV]])
    assert bench.job(job_id).state is JobState.SUCCEEDED


def test_what_is_no_event_is_a_warning(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([["raw", "nonsense\n{}\n"], ["epoch", 1], *END])
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert [event.payload["code"] for event in bench.events(job_id, "warning")] == ["unknown-event"]


def test_a_half_written_line_is_dropped(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([["epoch", 1], ["raw", '{"type": "epo'], ["signal", signal.SIGKILL]])
    assert bench.epochs(job_id) == [1]
    assert bench.events(job_id, "warning") == []


def test_another_dataset_than_submitted_is_refused(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([["start", {"dataset": {"fingerprint": "other"}}], ["sleep", 30], *END])
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert (job.reason["class"], job.reason["code"]) == ("data", "dataset-changed")


def test_no_helper_process_of_a_trainer_is_left(bench: Any) -> None:
    job_id = bench.submit()
    bench.run([["spawn"], *END])
    found = re.search(r"helper (\d+)", bench.log(job_id))
    assert found is not None
    bench.wait(lambda: not is_running(int(found[1])), timeout_s=10)


def test_a_trainer_that_cannot_start_is_a_failed_attempt(bench: Any) -> None:
    job_id = bench.submit()
    bench.artifacts.write_text("a file where the folder should be")
    bench.run(END)
    job = bench.job(job_id)
    assert job.state is JobState.QUEUED
    assert job.reason["code"] == "worker"


def refuse(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Let the system refuse every dataset's file; tests may run as root, whom it refuses none."""
    real = Path.open

    def refusing(path: Path, *more: Any, **options: Any) -> Any:
        if path.suffix == ".arrow":
            raise error
        return real(path, *more, **options)

    monkeypatch.setattr(Path, "open", refusing)


def test_a_dataset_that_may_not_be_read_fails_the_job_at_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()
    refuse(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    bench.run(END)
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert (job.reason["class"], job.reason["code"]) == ("data", "dataset-unreadable")
    assert "tiny.arrow" in job.reason["message"]


def test_an_attempt_that_cannot_be_prepared_ends_at_once_and_is_tried_again(
    bench: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()
    refuse(monkeypatch, OSError(errno.ESTALE, "Stale file handle"))
    artifacts = SharedArtifacts(bench.artifacts, "s3://models/team")
    place = replace(bench.place(END), artifacts=artifacts)
    bench.supervisor(place).run()
    job = bench.job(job_id)
    assert (job.state, job.reason["code"]) == (JobState.QUEUED, "worker")
    assert "Stale file handle" in job.reason["message"]
    bench.wait(lambda: "courier" not in {thread.name for thread in threading.enumerate()})


class Background(threading.Thread):
    """Runs the next job while the test acts."""

    def __init__(self, bench: Any, script: list[list[Any]], **more: Any) -> None:
        super().__init__()
        self._supervisor = bench.supervisor(bench.place(script, **more))
        self.start()

    def run(self) -> None:
        self._supervisor.run()


def test_cancel_lets_the_trainer_write_its_state(bench: Any) -> None:
    job_id = bench.submit()
    script = [["epoch", 1], ["wait_term"], ["resume_point", 1], ["end", "interrupted"], ["exit", 3]]
    running = Background(bench, script)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    with bench.database.session() as session:
        cancel(session, job_id)
    running.join(20)
    assert bench.job(job_id).state is JobState.CANCELLED
    (attempt,) = bench.attempts(job_id)
    assert attempt.outcome == "cancelled"
    assert attempt.resume_path is not None


@pytest.mark.parametrize("force", [False, True])
def test_cancel_ends_a_trainer_that_does_not_listen(bench: Any, force: bool) -> None:
    job_id = bench.submit()
    script = [["ignore_term"], ["epoch", 1], ["sleep", 60], *END]
    running = Background(bench, script, grace_s=60.0 if force else 1.0)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    with bench.database.session() as session:
        cancel(session, job_id, force=force)
    running.join(20)
    assert not running.is_alive()
    assert bench.job(job_id).state is JobState.CANCELLED
    (attempt,) = bench.attempts(job_id)
    assert attempt.exit_code == -signal.SIGKILL


def test_force_hurries_a_cancel_that_is_under_way(bench: Any) -> None:
    job_id = bench.submit()
    running = Background(bench, [["ignore_term"], ["epoch", 1], ["sleep", 60], *END], grace_s=60.0)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    with bench.database.session() as session:
        cancel(session, job_id)
    time.sleep(1.5)
    assert running.is_alive()
    with bench.database.session() as session:
        cancel(session, job_id, force=True)
    running.join(20)
    assert bench.job(job_id).state is JobState.CANCELLED


def test_an_attempt_is_limited_in_time(bench: Any) -> None:
    job_id = bench.submit(limits={"timeout_s": 1})
    bench.run([["epoch", 1], ["wait_term"], ["end", "interrupted"], ["exit", 3]])
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert job.reason["class"] == "timeout"
    assert bench.epochs(job_id) == [1]


def test_a_shutdown_gives_the_job_back_without_using_up_an_attempt(bench: Any) -> None:
    job_id = bench.submit()
    script = [["epoch", 1], ["wait_term"], ["resume_point", 1], ["end", "interrupted"], ["exit", 3]]
    running = Background(bench, script)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    bench.stopping.set()
    running.join(20)
    job = bench.job(job_id)
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)
    (attempt,) = bench.attempts(job_id)
    assert attempt.outcome == "released"
    assert attempt.resume_path == f"{job_id}/attempt-1/resume.pt"


def test_the_next_attempt_resumes_and_records_no_epoch_twice(bench: Any) -> None:
    job_id = bench.submit(epochs=3)
    bench.run([["epoch", 1], ["resume_point", 1], ["epoch", 2], ["signal", signal.SIGKILL]])
    bench.wait(lambda: bench.job(job_id).not_before < now(bench), timeout_s=10)
    bench.run([provenance(bench, job_id), ["epoch", 1], ["epoch", 2], ["epoch", 3], *END])
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == [1, 2, 3]
    request = job.provenance["request"]
    assert request["resume"] == str(bench.artifacts / job_id / "attempt-1" / "resume.pt")
    assert request["out_dir"] == str(bench.artifacts / job_id / "attempt-2")
    assert request["recorded_epoch"] == 1  # the last epoch may lack its checkpoint: asked again


def test_a_missing_resume_state_means_from_the_start(bench: Any) -> None:
    job_id = bench.submit(epochs=2)
    bench.run([["epoch", 1], ["resume_point", 1], ["signal", signal.SIGKILL]])
    (bench.artifacts / job_id / "attempt-1" / "resume.pt").unlink()
    bench.wait(lambda: bench.job(job_id).not_before < now(bench), timeout_s=10)
    bench.run([provenance(bench, job_id), ["epoch", 1], ["epoch", 2], *END])
    job = bench.job(job_id)
    assert (job.state, job.provenance["request"]["resume"]) == (JobState.SUCCEEDED, None)
    assert bench.epochs(job_id) == [1, 2]
    codes = [event.payload["code"] for event in bench.events(job_id, "warning")]
    assert codes == ["resume-missing"]


def now(bench: Any) -> Any:
    from sqlalchemy import func, select

    with bench.database.session() as session:
        return session.scalar(select(func.now()))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
