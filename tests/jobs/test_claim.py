"""A queued job goes to one slot, in the right order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, text

from app.db import Attempt, Database, Job
from app.domain import JobState, Scope
from app.jobs import keys, read, workers
from app.jobs.claim import Claim, claim, queued_count
from app.jobs.finish import finish
from app.jobs.offer import Offer
from app.jobs.outcome import Outcome

ONE_SLOT = Offer(cpu=[0])
ONE_GPU = Offer(cpu=[0], gpu=[0], gpus=1)


def test_a_claim_holds_everything_a_run_needs(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    get: Callable[[str], Job],
    database: Database,
) -> None:
    job_id = submit_job(resources={"cpu_threads": 3}, limits={"timeout_s": 9})
    with database.session() as session:
        assert queued_count(session, ONE_SLOT) == 1
    claimed = take(lease_s=30)
    assert (claimed.job_id, claimed.attempt) == (job_id, 1)
    assert claimed.config.max_epochs == 5
    assert (claimed.dataset, claimed.dataset_fingerprint) == ("jp", "f" * 64)
    assert claimed.resources.cpu_threads == 3
    assert claimed.limits.timeout_s == 9
    assert (claimed.resume_path, claimed.recorded_epoch) == (None, 0)
    job = get(job_id)
    assert (job.state, job.attempt, job.attempts_used) == (JobState.RUNNING, 1, 1)
    assert job.lease_owner == "wrk_test/0"
    assert job.started_at is not None
    assert job.lease_until is not None
    assert (job.lease_until - job.started_at).total_seconds() == 30
    with database.session() as session:
        [attempt] = read.attempts(session, job_id)
        assert (attempt.number, attempt.worker_id, attempt.slot) == (1, "wrk_test", 0)
        assert attempt.ended_at is None
        assert read.events_after(session, job_id)[-1].payload == {
            "state": "running",
            "from": "queued",
            "worker_id": "wrk_test",
        }
        assert queued_count(session, ONE_SLOT) == 0
    assert take() is None


def test_by_priority_then_by_position(
    submit_job: Callable[..., str], take: Callable[..., Claim]
) -> None:
    order = [submit_job(priority=priority) for priority in (0, 5, 0, 5, -1)]
    claimed = [take().job_id for _ in order]
    assert claimed == [order[1], order[3], order[0], order[2], order[4]]


def test_fifty_threads_claim_twenty_jobs_once_each(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim | None]
) -> None:
    submitted = {submit_job() for _ in range(20)}
    together = threading.Barrier(50)

    def one(_: int) -> Claim | None:
        together.wait()
        return take()

    with ThreadPoolExecutor(50) as pool:
        claims = [found for found in pool.map(one, range(50)) if found is not None]
    assert len(claims) == 20
    assert {found.job_id for found in claims} == submitted
    with database.session() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 20
        assert set(session.scalars(select(Job.last_seq))) == {2}


def test_a_locked_job_is_passed_by(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim]
) -> None:
    first, second = submit_job(), submit_job()
    with database.session() as other:
        other.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": first})
        assert take().job_id == second
        assert take() is None
    assert take().job_id == first


def test_a_back_off_is_waited_for(
    database: Database, running: Claim, take: Callable[..., Claim], ready: Callable[[], None]
) -> None:
    with database.session() as session:
        reason = {"class": "killed", "code": "killed"}
        finish(session, running.job_id, 1, outcome=Outcome.FAILED, reason=reason)
    with database.session() as session:
        assert queued_count(session, ONE_SLOT) == 0
    assert take() is None
    ready()
    with database.session() as session:
        assert queued_count(session, ONE_SLOT) == 1
    assert take().attempt == 2


def test_a_job_for_a_gpu_waits_for_a_living_worker_that_has_one(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim]
) -> None:
    wants = submit_job(resources={"gpus": 1})
    plain = submit_job(resources={"gpus": 0})
    with database.session() as session:
        gpu = workers.register(session, host="h", pid=1, slots=1, gpus=["GPU-0"])
    assert take().job_id == plain
    assert take() is None
    with database.session() as session:
        assert queued_count(session, ONE_SLOT) == 0
        assert queued_count(session, ONE_GPU) == 1
        workers.stop(session, gpu.id)
    assert take().job_id == wants
    with database.session() as session:
        warning = read.events_after(session, wants)[-1]
    assert (warning.type, warning.payload["code"]) == ("warning", "no-gpu")


def test_a_worker_with_a_gpu_gives_no_warning(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim]
) -> None:
    job_id = submit_job(resources={"gpus": 1})
    assert take(offer=ONE_GPU).job_id == job_id
    with database.session() as session:
        assert [event.type for event in read.events_after(session, job_id)] == ["state", "state"]


def test_a_dead_gpu_worker_is_not_waited_for(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim]
) -> None:
    submit_job(resources={"gpus": 1})
    with database.session() as session:
        workers.register(session, host="h", pid=1, slots=1, gpus=["GPU-0"])
        session.execute(text("UPDATE workers SET heartbeat_at = now() - interval '31 s'"))
    assert take() is not None


def test_a_key_runs_no_more_than_it_may(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim | None]
) -> None:
    with database.session() as session:
        key, _ = keys.create(session, "team", Scope.SUBMIT, max_running=2)
    limited = [submit_job(api_key_id=key.id, priority=9) for _ in range(6)]
    others = {submit_job() for _ in range(3)}
    together = threading.Barrier(12)

    def one(_: int) -> Claim | None:
        together.wait()
        return take()

    with ThreadPoolExecutor(12) as pool:
        first = [found for found in pool.map(one, range(12)) if found is not None]
    rest = []
    while (found := take()) is not None:
        rest.append(found)
    claimed = [found.job_id for found in first + rest]
    assert len(set(claimed) & set(limited)) == 2
    assert set(claimed) - set(limited) == others
    with database.session() as session:
        done = next(found for found in first + rest if found.job_id in limited)
        finish(session, done.job_id, done.attempt, outcome=Outcome.SUCCEEDED)
    again = take()
    assert again is not None
    assert again.job_id in limited


def test_a_job_that_is_no_longer_valid_fails_and_blocks_nobody(
    database: Database,
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    get: Callable[[str], Job],
) -> None:
    outdated, fine = submit_job(priority=1), submit_job()
    with database.session() as session:
        session.execute(
            text("UPDATE jobs SET config = config || '{\"gone\": 1}' WHERE id = :id"),
            {"id": outdated},
        )
    assert take().job_id == fine
    job = get(outdated)
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert job.reason["code"] == "spec-outdated"
    assert "gone" in job.reason["message"]


def test_nothing_is_claimed_when_the_transaction_fails(
    database: Database, submit_job: Callable[..., str], get: Callable[[str], Job]
) -> None:
    job_id = submit_job()
    try:
        with database.session() as session:
            claim(session, worker_id="w", lease_s=1, offer=ONE_SLOT)
            raise RuntimeError
    except RuntimeError:
        pass
    assert (get(job_id).state, get(job_id).attempt) == (JobState.QUEUED, 0)
