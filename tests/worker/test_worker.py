"""Real worker processes with the real trainer, suspended and orphaned: every job ends once.

What kill -9 leaves is proved on whole stacks, in tests/e2e/test_kill.py."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from app.broker.doorbell import Doorbell
from app.db import Worker
from app.domain import JobState
from app.embedded.valkey import EmbeddedValkey
from app.jobs.pause import pause, resume
from worker.maintenance import POLL_S

LEASE_S = 8.0
EPOCHS = 5
pytestmark = pytest.mark.slow


def expect_whole(bench: Any, job_id: str, epochs: int = EPOCHS) -> None:
    """Succeeded, each epoch once and in order, each checkpoint once and on disk."""
    assert bench.job(job_id).state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == list(range(1, epochs + 1))
    seqs = [event.seq for event in bench.events(job_id)]
    assert seqs == list(range(1, len(seqs) + 1))
    checkpoints = bench.checkpoints(job_id)
    assert len({checkpoint.epoch for checkpoint in checkpoints}) == len(checkpoints) >= 1
    assert checkpoints[-1].epoch == epochs
    assert sum(checkpoint.is_best for checkpoint in checkpoints) == 1
    for checkpoint in checkpoints:
        assert (bench.artifacts / checkpoint.path).stat().st_size == checkpoint.size


def ran_epochs(bench: Any, job_id: str, count: int) -> bool:
    return len(bench.epochs(job_id)) >= count


def test_a_doorbell_starts_a_job_and_it_succeeds(bench: Any, trainer_watch: Any) -> None:
    bench.start_worker()
    bench.wait(lambda: workers(bench))
    bell = Doorbell(bench.redis_url)
    job_id = bench.submit(epochs=2)
    assert bell.ring()
    bell.close()
    job = bench.wait_state(job_id, JobState.SUCCEEDED, JobState.FAILED)
    assert job.reason is None
    expect_whole(bench, job_id, epochs=2)
    assert job.provenance["threads"] == 1
    assert job.provenance["variables"]["OMP_NUM_THREADS"] == "1"


def test_a_control_worker_takes_back_lost_jobs_and_trains_nothing(bench: Any) -> None:
    control = bench.start_worker(slots=0, lease_s=LEASE_S)
    job_id = bench.submit(epochs=500)
    trainer = bench.start_worker(lease_s=LEASE_S)
    bench.wait_state(job_id, JobState.RUNNING)
    trainer.kill()
    bench.wait_state(job_id, JobState.QUEUED)
    time.sleep(3 * POLL_S)
    assert bench.job(job_id).state == JobState.QUEUED
    assert [attempt.outcome for attempt in bench.attempts(job_id)] == ["lost"]
    control.terminate()
    assert control.wait(timeout=30) == 0


def test_an_orphaned_trainer_ends_by_itself(bench: Any) -> None:
    job_id = bench.submit(epochs=500)
    worker = bench.start_worker(lease_s=LEASE_S)
    bench.wait(lambda: ran_epochs(bench, job_id, 1))
    assert len(bench.trainers()) == 1
    worker.kill()
    bench.wait(lambda: not bench.trainers(), timeout_s=LEASE_S + 5.0)


def test_a_suspended_worker_changes_nothing(bench: Any, trainer_watch: Any) -> None:
    job_id = bench.submit(epochs=EPOCHS)
    suspended = bench.start_worker(lease_s=LEASE_S)
    bench.wait(lambda: ran_epochs(bench, job_id, 1))
    suspended.send_signal(signal.SIGSTOP)
    bench.start_worker(lease_s=LEASE_S)
    bench.wait_state(job_id, JobState.SUCCEEDED, JobState.FAILED)
    expect_whole(bench, job_id)
    before = bench.job(job_id)

    suspended.send_signal(signal.SIGCONT)
    bench.wait(lambda: bench.attempts(job_id)[0].stale_writes > 0, timeout_s=30)
    after = bench.job(job_id)
    assert (after.last_seq, after.version) == (before.last_seq, before.version)
    assert [attempt.outcome for attempt in bench.attempts(job_id)] == ["lost", "succeeded"]
    expect_whole(bench, job_id)
    assert suspended.poll() is None

    # And it is of use again.
    bench.wait(lambda: all(not row.current for row in workers(bench)))
    again = bench.submit(model="linear")
    bench.wait_state(again, JobState.SUCCEEDED)


def test_an_orderly_shutdown_gives_the_job_back(bench: Any, trainer_watch: Any) -> None:
    job_id = bench.submit(epochs=EPOCHS)
    first = bench.start_worker(lease_s=60.0)
    bench.wait(lambda: ran_epochs(bench, job_id, 1))
    first.send_signal(signal.SIGTERM)
    assert first.wait(40) == 0
    job = bench.job(job_id)
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)
    assert bench.trainers() == []
    assert [row.stopped_at is not None for row in workers(bench)] == [True]

    bench.start_worker(lease_s=60.0)
    bench.wait_state(job_id, JobState.SUCCEEDED, JobState.FAILED)
    expect_whole(bench, job_id)
    assert bench.job(job_id).attempts_used == 1


def test_a_worker_needs_no_broker_to_work_and_to_end(
    bench: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = EmbeddedValkey(tmp_path_factory.mktemp("broker"))
    bench.redis_url = broker.start()
    worker = bench.start_worker()
    bench.wait(lambda: workers(bench))
    broker.stop()
    job_id = bench.submit(model="linear")
    bench.wait_state(job_id, JobState.SUCCEEDED)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0


def test_slots_run_side_by_side_and_each_job_once(bench: Any, trainer_watch: Any) -> None:
    jobs = [bench.submit(model="linear") for _ in range(3)]
    bench.start_worker(slots=2)
    most = 0
    while any(bench.job(job_id).state is not JobState.SUCCEEDED for job_id in jobs):
        most = max(most, len(bench.trainers()))
        assert most <= 2
        time.sleep(0.1)
    assert most == 2
    for job_id in jobs:
        expect_whole(bench, job_id, epochs=1)
        assert len(bench.attempts(job_id)) == 1


def test_a_paused_job_goes_on_exactly_where_it_stopped(bench: Any, trainer_watch: Any) -> None:
    undisturbed, paused = bench.submit(epochs=4), bench.submit(epochs=4)
    bench.start_worker()
    bench.wait_state(undisturbed, JobState.SUCCEEDED)
    bench.wait(lambda: ran_epochs(bench, paused, 1))
    with bench.database.session() as session:
        pause(session, paused)
    assert bench.wait_state(paused, JobState.PAUSED).attempts_used == 0
    assert bench.trainers() == []
    with bench.database.session() as session:
        resume(session, paused)
    bench.wait_state(paused, JobState.SUCCEEDED, JobState.FAILED)
    expect_whole(bench, paused, epochs=4)
    assert [attempt.outcome for attempt in bench.attempts(paused)] == ["paused", "succeeded"]
    same, other = (bench.checkpoints(job)[-1].metrics for job in (undisturbed, paused))
    assert {k: v for k, v in same.items() if k.startswith("valid/")} == {
        k: v for k, v in other.items() if k.startswith("valid/")
    }


def workers(bench: Any) -> list[Worker]:
    with bench.database.session() as session:
        return list(session.query(Worker))
