"""A request that is sent again is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.db import Database, IdempotencyKey, Job
from app.domain import IdempotencyInFlightError, IdempotencyMismatchError
from app.jobs.idempotency import Asked, StoredAnswer, begin, complete
from app.jobs.submit import submit
from gogooku3.config import JobSpec
from gogooku3.data.header import DatasetHeader

NAME = Asked(caller="open", route="POST /v1/jobs", key="k", body_sha256="b")
ANSWER = StoredAnswer(201, {"id": "job_1"}, {"Location": "/v1/jobs/job_1"})
GIVEN: dict[str, Any] = {
    "dataset": "jp",
    "config": {"data": {"split": {"train_end": "2020-06-30", "valid_end": "2020-09-30"}}},
}


def count(database: Database, table: type) -> int:
    with database.session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def store(database: Database, **changes: str) -> None:
    with database.session() as session:
        asked = replace(NAME, **changes)
        assert begin(session, asked) is None
        complete(session, {asked: ANSWER})


def test_the_first_answer_is_given_again(database: Database) -> None:
    store(database)
    with database.session() as session:
        assert begin(session, NAME) == ANSWER


@pytest.mark.parametrize("changed", ["caller", "route", "key"])
def test_keys_of_others_are_others(changed: str, database: Database) -> None:
    store(database)
    store(database, **{changed: "other"})
    assert count(database, IdempotencyKey) == 2


def test_another_body_is_a_mistake(database: Database) -> None:
    store(database)
    with pytest.raises(IdempotencyMismatchError), database.session() as session:
        begin(session, replace(NAME, body_sha256="other"))


def test_while_the_first_is_at_work_the_second_does_not_wait(database: Database) -> None:
    with database.session() as first:
        begin(first, NAME)
        with pytest.raises(IdempotencyInFlightError), database.session() as second:
            begin(second, NAME)
        with database.session() as other:
            assert begin(other, replace(NAME, key="other")) is None
        complete(first, {NAME: ANSWER})
    with database.session() as session:
        assert begin(session, NAME) is not None


def test_a_first_that_fails_leaves_nothing(database: Database) -> None:
    with database.session() as session:
        begin(session, NAME)
        complete(session, {NAME: ANSWER})
        session.rollback()
    with database.session() as session:
        assert begin(session, NAME) is None


def test_twenty_at_once_make_one_job(database: Database, header: DatasetHeader) -> None:
    together = threading.Barrier(20)
    spec = JobSpec.model_validate(GIVEN)

    def one(_: int) -> str:
        together.wait()
        while True:
            try:
                with database.session() as session:
                    stored = begin(session, NAME)
                    if stored is not None:
                        return str(stored.response["id"])
                    job = submit(session, spec, given=GIVEN, header=header)
                    complete(session, {NAME: replace(ANSWER, response={"id": job.id})})
                    return job.id
            except IdempotencyInFlightError:
                continue

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(one, range(20)))
    assert len(answers) == 1
    assert count(database, Job) == 1


def test_old_answers_are_forgotten_in_time(
    database: Database, submit_job: Callable[..., str]
) -> None:
    for number in range(25):
        store(database, key=f"old-{number}")
    store(database, key="fresh")
    with database.session() as session:
        session.execute(
            text(
                "UPDATE idempotency_keys SET created_at = now() - interval '49 h' "
                "WHERE key LIKE 'old-%'"
            )
        )
    store(database, key="next")
    assert count(database, IdempotencyKey) == 7
    store(database, key="last")
    with database.session() as session:
        kept = set(session.scalars(select(IdempotencyKey.key)))
    assert kept == {"fresh", "next", "last"}
