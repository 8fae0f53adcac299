"""Workers say that they are there, what they do, and that they leave."""

from __future__ import annotations

import pytest

from app.db import Database, Worker
from app.domain import NotFoundError
from app.jobs import read, workers


def register(database: Database, host: str = "h") -> str:
    with database.session() as session:
        return workers.register(session, host=host, pid=7, slots=2).id


def listed(database: Database) -> list[Worker]:
    with database.session() as session:
        return list(read.workers(session))


def test_a_worker_comes_works_and_leaves(database: Database) -> None:
    worker_id = register(database)
    assert worker_id.startswith("wrk_")
    [new] = listed(database)
    assert (new.host, new.pid, new.slots, new.device) == ("h", 7, 2, "cpu")
    assert (new.current, new.stopped_at) == ([], None)
    busy = [{"job_id": "job_1", "attempt": 1, "slot": 0}]
    with database.session() as session:
        workers.heartbeat(session, worker_id, busy)
    [seen] = listed(database)
    assert seen.current == busy
    assert seen.heartbeat_at > new.heartbeat_at
    with database.session() as session:
        workers.stop(session, worker_id)
    [gone] = listed(database)
    assert gone.current == []
    assert gone.stopped_at is not None


def test_those_that_are_there_come_first(database: Database) -> None:
    first, second, third = (register(database, host) for host in "abc")
    with database.session() as session:
        workers.heartbeat(session, first, [])
    with database.session() as session:
        workers.stop(session, third)
    assert [worker.id for worker in listed(database)] == [first, second, third]


def test_a_worker_whose_row_is_gone_hears_of_it(database: Database) -> None:
    for act in (
        lambda session: workers.heartbeat(session, "wrk_none", []),
        lambda session: workers.stop(session, "wrk_none"),
    ):
        with pytest.raises(NotFoundError), database.session() as session:
            act(session)
