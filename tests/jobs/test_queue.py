"""The queue as it is shown, and moving in it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from app.db import Database, Job
from app.domain import InvalidStateError, NotFoundError, Scope
from app.jobs import keys, queue, workers
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.move import move
from app.jobs.offer import Offer
from app.jobs.outcome import Outcome
from app.jobs.pause import pause
from app.jobs.record import record
from gogooku3.events import EpochEvent, ProgressEvent

Act = Callable[..., Any]


@pytest.fixture
def act(database: Database) -> Act:
    def act_once(what: Callable[..., Any], *values: Any, **more: Any) -> Any:
        with database.session() as session:
            return what(session, *values, **more)

    return act_once


@pytest.fixture
def worker(act: Act) -> str:
    """A living worker with one slot."""
    return str(act(workers.register, host="h", pid=1, slots=1).id)


def order(act: Act) -> list[str]:
    return [item.job.id for item in act(queue.look).items if item.position is not None]


def reasons(act: Act) -> dict[str, str]:
    return {item.job.id: item.reason.code for item in act(queue.look).items}


def test_the_order_is_that_of_the_claims(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act
) -> None:
    jobs = [submit_job(priority=priority) for priority in (0, 5, 0, 5)]
    act(move, jobs[2], before=jobs[0])
    shown = act(queue.look)
    ids = [item.job.id for item in shown.items]
    assert ids == [jobs[1], jobs[3], jobs[2], jobs[0]]
    assert [item.position for item in shown.items] == [1, 2, 3, 4]
    assert [item.behind for item in shown.items] == [None, *ids[:-1]]
    assert (shown.queued, shown.paused, shown.running) == (4, 0, 0)
    assert [take().job_id for _ in ids] == ids


def test_each_reason_is_told(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act, database: Database
) -> None:
    first = submit_job()
    assert reasons(act) == {first: "no-worker"}
    worker = act(workers.register, host="h", pid=1, slots=1, gpus=["a"]).id
    assert reasons(act) == {first: "starting"}
    take(offer=Offer(cpu=[0], gpu=[0], gpus=1), worker_id=worker)
    act(workers.heartbeat, worker, [{"job_id": first, "attempt": 1, "slot": 0, "slots": [0]}])
    key = act(keys.create, "team", Scope.SUBMIT, max_running=0)[0].id
    busy, big, limited = submit_job(), submit_job(resources={"gpus": 2}), submit_job(api_key_id=key)
    aside, later = submit_job(), submit_job()
    act(pause, aside)
    with database.session() as session:
        session.execute(
            text("UPDATE jobs SET not_before = now() + interval '1 h' WHERE id = :id"),
            {"id": later},
        )
    assert reasons(act) == {
        busy: "slots-busy",
        big: "needs-gpu",
        limited: "key-limit",
        later: "back-off",
        aside: "paused",
    }
    held = next(item for item in act(queue.look).items if item.job.id == later)
    assert held.reason.until == held.job.not_before


def test_starts_are_estimated_from_what_was_measured(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    act: Act,
    worker: str,
    database: Database,
) -> None:
    done = submit_job()
    take(worker_id=worker)
    assert [item.starts_in_s for item in act(queue.look).items] == []
    epochs = [EpochEvent(epoch=n, metrics={}, duration_s=1.0) for n in (1, 2, 3, 4, 5)]
    act(record, done, 1, epochs)
    act(finish, done, 1, outcome=Outcome.SUCCEEDED)
    with database.session() as session:
        session.execute(text("UPDATE attempts SET started_at = ended_at - interval '50 s'"))
    running, second, third = submit_job(), submit_job(), submit_job()
    take(worker_id=worker)
    place = ProgressEvent(epoch=1, max_epochs=5, step=1, steps=2, eta_s=30.0)
    act(record, running, 1, [place])
    act(workers.heartbeat, worker, [{"job_id": running, "attempt": 1, "slot": 0, "slots": [0]}])
    items = act(queue.look).items
    assert [item.job.id for item in items] == [second, third]
    assert [item.expected_s for item in items] == [50.0, 50.0]
    assert items[0].starts_in_s == pytest.approx(30, abs=5)
    assert items[1].starts_in_s == pytest.approx(80, abs=5)


def test_what_was_never_measured_is_not_guessed(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act, worker: str
) -> None:
    running = submit_job()
    submit_job()
    take(worker_id=worker)
    act(workers.heartbeat, worker, [{"job_id": running, "attempt": 1, "slot": 0, "slots": [0]}])
    (item,) = act(queue.look).items
    assert (item.starts_in_s, item.expected_s) == (None, None)


def test_moves(submit_job: Callable[..., str], act: Act) -> None:
    a, b, c, d = (submit_job() for _ in range(4))
    act(move, d)
    assert order(act) == [d, a, b, c]
    act(move, a, after=b)
    assert order(act) == [d, b, a, c]
    act(move, d, after=c)
    assert order(act) == [b, a, c, d]
    e = submit_job()
    assert order(act) == [b, a, c, d, e]
    act(move, e, before=e)
    act(move, b)
    assert order(act) == [b, a, c, d, e]


def test_a_move_takes_on_the_neighbours_priority(submit_job: Callable[..., str], act: Act) -> None:
    high, low = submit_job(priority=5), submit_job()
    assert act(move, low, after=high).priority == 5
    assert order(act) == [high, low]
    last = submit_job(priority=-3)
    assert act(move, last).priority == 5
    assert order(act) == [last, high, low]


def test_only_what_waits_can_be_moved(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act
) -> None:
    running, waiting = submit_job(), submit_job()
    take()
    for job, other in ((running, None), (waiting, running)):
        with pytest.raises(InvalidStateError, match="running"):
            act(move, job, before=other)
    with pytest.raises(NotFoundError):
        act(move, waiting, after="job_none")


def test_a_job_that_comes_back_finds_its_place_untaken(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act
) -> None:
    """A job that runs holds its place: whoever is moved there meanwhile gets another."""
    a, b, c = (submit_job() for _ in range(3))
    act(move, c, after=a)  # a c b
    take()
    take()  # a and c run
    d = submit_job()
    act(move, d, before=b)
    act(finish, c, 1, outcome=Outcome.RELEASED)
    act(finish, a, 1, outcome=Outcome.RELEASED)
    assert order(act) == [a, c, d, b]


def test_many_moves_at_once_lose_nobody(
    submit_job: Callable[..., str], act: Act, get: Callable[[str], Job]
) -> None:
    jobs = [submit_job() for _ in range(12)]
    target = jobs[0]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: act(move, job, before=target), jobs[1:] * 3))
    assert sorted(order(act)) == sorted(jobs)
    assert order(act)[-1] == target
    assert len({get(job).place for job in jobs}) == len(jobs)
