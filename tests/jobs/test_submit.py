"""What is stored of an accepted job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.db import Database, Job
from app.domain import JobState, Scope, TooManyJobsError
from app.jobs import keys, read
from gogooku3.config import TrainConfig


def test_stores_the_effective_configuration_and_its_sources(
    submit_job: Callable[..., str], get: Callable[[str], Job]
) -> None:
    job = get(submit_job(note="why"))
    assert job.id.startswith("job_")
    assert (job.kind, job.name, job.state) == ("train", "baseline", JobState.QUEUED)
    assert (job.attempt, job.attempts_used, job.version, job.last_seq) == (0, 0, 1, 1)
    config = TrainConfig.model_validate(job.config)
    assert config.max_epochs == 5
    assert job.config["optimizer"]["lr"] == config.optimizer.lr
    assert job.config_sources["max_epochs"] == "request"
    assert job.config_sources["optimizer.lr"] == "default"
    assert job.config_sources["loss.horizon_weights"] == "derived"
    assert job.spec["note"] == "why"
    assert job.spec["config"]["data"]["split"]["train_end"] == "2020-06-30"
    assert job.dataset_fingerprint == "f" * 64
    assert job.limits == {"max_attempts": 3, "timeout_s": None, "memory_mb": None}


def test_the_row_is_whole_when_the_transaction_has_ended(
    submit_job: Callable[..., str], get: Callable[[str], Job]
) -> None:
    job = get(submit_job(name=None))
    assert job.name == "atft_gat_fan on jp"
    assert job.created_at == job.queued_at == job.updated_at
    assert job.finished_at is None


def test_the_first_event(database: Database, submit_job: Callable[..., str]) -> None:
    job_id = submit_job()
    with database.session() as session:
        [event] = read.events_after(session, job_id)
    assert (event.seq, event.type, event.attempt) == (1, "state", 0)
    assert event.payload == {"state": "queued"}


def test_the_limit_of_a_key_holds_under_concurrency(
    database: Database, submit_job: Callable[..., str]
) -> None:
    with database.session() as session:
        key, _ = keys.create(session, "team", Scope.SUBMIT, max_queued=3)
    together = threading.Barrier(10)

    def one(_: int) -> bool:
        together.wait()
        try:
            submit_job(api_key_id=key.id)
        except TooManyJobsError:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        accepted = list(pool.map(one, range(10)))
    assert sum(accepted) == 3
    with database.session() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 3


def test_a_key_without_a_limit_and_other_keys_are_not_held_up(
    database: Database, submit_job: Callable[..., str]
) -> None:
    with database.session() as session:
        full, _ = keys.create(session, "full", Scope.SUBMIT, max_queued=1)
        free, _ = keys.create(session, "free", Scope.SUBMIT)
    submit_job(api_key_id=full.id)
    with pytest.raises(TooManyJobsError):
        submit_job(api_key_id=full.id)
    submit_job(api_key_id=free.id)
    submit_job()
