"""Several slots a job: exclusive, all at once, and nobody starves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.db import Database, Job
from app.jobs import read, workers
from app.jobs.claim import Claim, queued_count
from app.jobs.offer import Offer

Take = Callable[..., Claim | None]


def offer(*gpu: int, cpu: tuple[int, ...] = (), gpus: int = 2) -> Offer:
    return Offer(cpu=cpu, gpu=gpu, gpus=gpus)


@pytest.fixture
def gpu_worker(database: Database) -> str:
    """A living worker with two GPUs."""
    with database.session() as session:
        return workers.register(session, host="h", pid=1, slots=3, gpus=["a", "b"]).id


def test_a_job_takes_its_gpus_at_once(
    submit_job: Callable[..., str], take: Take, database: Database
) -> None:
    job_id = submit_job(resources={"gpus": 2})
    claimed = take(offer=offer(0, 1, cpu=(2,)))
    assert claimed is not None
    assert claimed.slots == (0, 1)
    with database.session() as session:
        (attempt,) = read.attempts(session, job_id)
    assert (attempt.slot, attempt.slots, attempt.lease_owner) == (0, [0, 1], "wrk_test/0+1")


def test_a_job_without_gpus_leaves_them_alone(submit_job: Callable[..., str], take: Take) -> None:
    submit_job(resources={"gpus": 0})
    assert take(offer=offer(0, 1)) is None
    claimed = take(offer=offer(0, 1, cpu=(2,)))
    assert claimed is not None
    assert claimed.slots == (2,)


def test_a_job_that_says_nothing_of_gpus_takes_one(
    submit_job: Callable[..., str], take: Take, gpu_worker: str
) -> None:
    """Where a worker has one: a job is not trained on the CPU beside an idle GPU."""
    submit_job()
    assert take(offer=Offer(cpu=(0,))) is None
    claimed = take(offer=offer(1, cpu=(2,)), worker_id=gpu_worker)
    assert claimed is not None
    assert claimed.slots == (1,)


def test_without_any_gpu_such_a_job_trains_on_the_cpu_and_warns_of_nothing(
    database: Database, submit_job: Callable[..., str], take: Take
) -> None:
    job_id = submit_job()
    claimed = take(offer=Offer(cpu=(0,)))
    assert claimed is not None
    assert claimed.slots == (0,)
    with database.session() as session:
        assert [event.type for event in read.events_after(session, job_id)] == ["state", "state"]


def test_a_model_that_is_not_trained_in_steps_takes_none(
    submit_job: Callable[..., str], take: Take, get: Callable[[str], Job], gpu_worker: str
) -> None:
    config = {
        "data": {"split": {"train_end": "2020-06-30", "valid_end": "2020-09-30"}},
        "model": {"kind": "linear"},
    }
    job_id = submit_job(config=config)
    assert get(job_id).resources["gpus"] == 0
    assert take(offer=offer(0, 1), worker_id=gpu_worker) is None
    claimed = take(offer=offer(0, 1, cpu=(2,)), worker_id=gpu_worker)
    assert claimed is not None
    assert claimed.slots == (2,)


def test_gpus_are_kept_for_a_job_that_needs_more_of_them(
    submit_job: Callable[..., str], take: Take, get: Callable[[str], Job]
) -> None:
    """Small jobs behind a large one do not take, one by one, what it waits for."""
    large, small, plain = (submit_job(resources={"gpus": n}) for n in (2, 1, 0))
    version = get(large).version
    claimed = take(offer=offer(1, cpu=(2,)), worker_id="wrk_a")
    assert claimed is not None
    assert claimed.job_id == plain  # it needs no GPU, so nothing is taken from the large one
    assert take(offer=offer(1), worker_id="wrk_a") is None
    assert (get(large).gathered_by, get(large).version) == ("wrk_a", version)
    # Another worker with one free GPU keeps nothing for the same job: it takes the next.
    claimed = take(offer=offer(0), worker_id="wrk_b")
    assert claimed is not None
    assert claimed.job_id == small
    claimed = take(offer=offer(0, 1), worker_id="wrk_a")
    assert claimed is not None
    assert (claimed.job_id, claimed.slots) == (large, (0, 1))
    assert get(large).gathered_by is None


def test_who_has_enough_at_once_need_not_wait(submit_job: Callable[..., str], take: Take) -> None:
    large = submit_job(resources={"gpus": 2})
    assert take(offer=offer(1), worker_id="wrk_a") is None
    claimed = take(offer=offer(0, 1), worker_id="wrk_b")
    assert claimed is not None
    assert claimed.job_id == large


def test_a_higher_priority_goes_before_what_is_gathered_for(
    submit_job: Callable[..., str], take: Take
) -> None:
    submit_job(resources={"gpus": 2})
    assert take(offer=offer(1)) is None
    urgent = submit_job(resources={"gpus": 1}, priority=9)
    claimed = take(offer=offer(1))
    assert claimed is not None
    assert claimed.job_id == urgent


def test_more_gpus_than_any_worker_has(
    submit_job: Callable[..., str], take: Take, gpu_worker: str, database: Database
) -> None:
    """It waits, and stands in nobody's way."""
    submit_job(resources={"gpus": 3})
    small = submit_job(resources={"gpus": 1})
    claimed = take(offer=offer(0, 1), worker_id=gpu_worker)
    assert claimed is not None
    assert claimed.job_id == small
    with database.session() as session:
        assert queued_count(session, offer(0, 1, cpu=(2,))) == 0


def test_without_any_gpu_one_slot_of_a_cpu_does(submit_job: Callable[..., str], take: Take) -> None:
    submit_job(resources={"gpus": 2})
    claimed = take(offer=Offer(cpu=[0, 1]))
    assert claimed is not None
    assert claimed.slots == (0,)
