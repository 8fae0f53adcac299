"""The lease: kept through a short outage of the database, and obeyed when it is lost."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.db.database import Database
from app.db.migrate import upgrade
from app.domain import JobState
from app.embedded.postgres import EmbeddedPostgres
from app.jobs.reap import reap

END = [["end", "completed"], ["exit", 0]]


@pytest.fixture
def own_postgres(bench: Any) -> Iterator[EmbeddedPostgres]:
    """A server that this test may kill; the bench works on it."""
    folder = Path(tempfile.mkdtemp(prefix="gk3w-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "pg")
    url = server.start()
    upgrade(url)
    bench.database.dispose()
    bench.database = Database(url, pool_size=2)
    yield server
    bench.database.dispose()
    server.stop()
    shutil.rmtree(folder)


def kill(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.is_alive():
        time.sleep(0.01)


def start(bench: Any, script: list[list[Any]], **more: Any) -> threading.Thread:
    thread = threading.Thread(target=bench.supervisor(bench.place(script, **more)).run)
    thread.start()
    return thread


def lose_lease(bench: Any, job_id: str) -> None:
    """As if the worker had been suspended for too long: another one takes the job back."""
    with bench.database.session() as session:
        session.execute(
            text("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = :id"),
            {"id": job_id},
        )
        assert [reaped.job_id for reaped in reap(session)] == [job_id]


def test_training_goes_on_while_the_database_restarts(
    bench: Any, own_postgres: EmbeddedPostgres
) -> None:
    job_id = bench.submit(epochs=12)
    steps = [step for n in range(1, 13) for step in (["epoch", n], ["sleep", 0.25])]
    running = start(bench, [["obey_lease"], *steps, *END], lease_s=20.0)
    bench.wait(lambda: bench.epochs(job_id))
    kill(own_postgres)
    time.sleep(1.0)
    own_postgres.start()
    running.join(30)
    assert bench.job(job_id).state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == list(range(1, 13))
    assert [attempt.outcome for attempt in bench.attempts(job_id)] == ["succeeded"]


def test_an_end_is_recorded_when_the_database_is_back(
    bench: Any, own_postgres: EmbeddedPostgres
) -> None:
    job_id = bench.submit(epochs=2)
    running = start(bench, [["epoch", 1], ["sleep", 1.5], ["epoch", 2], *END], lease_s=20.0)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    kill(own_postgres)
    time.sleep(3.0)  # the trainer has ended by now
    assert running.is_alive()
    own_postgres.start()
    running.join(30)
    assert bench.job(job_id).state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == [1, 2]


def test_a_trainer_ends_when_the_lease_cannot_be_renewed(
    bench: Any, own_postgres: EmbeddedPostgres
) -> None:
    job_id = bench.submit()
    script = [["obey_lease"], ["epoch", 1], ["wait_term"], ["end", "interrupted"], ["exit", 3]]
    running = start(bench, script, lease_s=4.0)
    bench.wait(lambda: bench.epochs(job_id) == [1])
    kill(own_postgres)
    time.sleep(6.0)
    own_postgres.start()
    running.join(30)
    assert not running.is_alive()
    job = bench.job(job_id)
    # The outage is not the job's fault: it uses up no attempt.
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)
    assert job.reason["code"] == "lease-silent"


def test_a_lost_lease_ends_the_trainer_and_records_nothing_more(bench: Any) -> None:
    job_id = bench.submit()
    running = start(bench, [["ignore_term"], ["epoch", 1], ["sleep", 1.5], ["epoch", 2], *END])
    bench.wait(lambda: bench.epochs(job_id) == [1])
    lose_lease(bench, job_id)
    before = bench.job(job_id).last_seq
    running.join(20)
    assert not running.is_alive()
    job = bench.job(job_id)
    assert (job.state, job.last_seq) == (JobState.QUEUED, before)
    assert bench.epochs(job_id) == [1]
    (attempt,) = bench.attempts(job_id)
    assert attempt.outcome == "lost"
    assert attempt.stale_writes >= 1
    assert "lost its lease" in bench.log(job_id)


def test_a_lease_lost_before_the_start_trains_nothing(bench: Any) -> None:
    job_id = bench.submit()
    supervisor = bench.supervisor(bench.place([["print", "I train"], *END]))
    lose_lease(bench, job_id)
    supervisor.run()
    assert bench.job(job_id).state is JobState.QUEUED
    assert "I train" not in bench.log(job_id)
