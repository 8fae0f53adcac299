"""Lists: every job once, in order, whatever happens between two pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import Database, Job, Sweep
from app.domain import InvalidSpecError, JobState, SweepState
from app.jobs.cancel import cancel
from app.jobs.listing import ORDERS, JobFilter, JobPage, list_jobs

Submit = Callable[..., str]
Page = Callable[..., JobPage]


@pytest.fixture
def page(database: Database) -> Page:
    def page_it(where: JobFilter | None = None, **more: object) -> JobPage:
        with database.session() as session:
            return list_jobs(session, where, **more)

    return page_it


@pytest.fixture
def ids(page: Page) -> Callable[..., list[str]]:
    """All ids of a list, page by page."""

    def read_all(where: JobFilter | None = None, **more: object) -> list[str]:
        found: list[str] = []
        token = None
        while True:
            one = page(where, page_token=token, **more)
            found += [job_id for job_id, _ in one.items]
            token = one.next_page_token
            if token is None:
                return found

    return read_all


@pytest.mark.parametrize("order_by", ORDERS)
@pytest.mark.parametrize("page_size", [1, 3])
def test_every_job_once_and_in_order(
    order_by: str, page_size: int, submit_job: Submit, ids: Callable[..., list[str]], page: Page
) -> None:
    names = ["b", "a", "a", "ü", "b", "A", "a"]
    for place, name in enumerate(names):
        submit_job(name=name, priority=place % 3)
    found = ids(order_by=order_by, page_size=page_size)
    assert found == [job_id for job_id, _ in page(order_by=order_by, page_size=7).items]
    assert len(set(found)) == 7


def test_the_orders(submit_job: Submit, ids: Callable[..., list[str]]) -> None:
    low = submit_job(name="b", priority=1)
    high = submit_job(name="a", priority=2)
    assert ids() == [high, low]
    assert ids(order_by="created_at") == [low, high]
    assert ids(order_by="priority") == [low, high]
    assert ids(order_by="-priority") == [high, low]
    assert ids(order_by="name") == [high, low]
    assert ids(order_by="-name") == [low, high]


def test_equal_times_neither_repeat_nor_hide(
    database: Database, submit_job: Submit, ids: Callable[..., list[str]]
) -> None:
    submitted = {submit_job() for _ in range(9)}
    with database.session() as session:
        session.execute(text("UPDATE jobs SET created_at = now()"))
    found = ids(page_size=2)
    assert len(found) == 9
    assert set(found) == submitted


def test_jobs_that_come_in_between_do_not_disturb(submit_job: Submit, page: Page) -> None:
    old = [submit_job() for _ in range(4)]
    first = page(page_size=2)
    submit_job()
    second = page(page_size=2, page_token=first.next_page_token)
    assert [job_id for job_id, _ in first.items + second.items] == old[::-1]
    assert second.next_page_token is None


def test_the_last_page_may_be_full(submit_job: Submit, page: Page) -> None:
    for _ in range(2):
        submit_job()
    assert page(page_size=2).next_page_token is None
    assert page(page_size=1).next_page_token is not None


def test_filters(
    database: Database,
    submit_job: Submit,
    ids: Callable[..., list[str]],
    page: Page,
    get: Callable[[str], Job],
) -> None:
    plain = submit_job(name="Plain", labels={"team": "alpha", "kind": "x"})
    other = submit_job(name="50% off", dataset="us", labels={"team": "beta"}, note="Look HERE")
    gone = submit_job(name="gone", labels={})
    with database.session() as session:
        cancel(session, gone)
        session.add(
            Sweep(
                id="swp_1",
                name="search",
                state=SweepState.RUNNING,
                dataset="us",
                dataset_fingerprint="f" * 64,
                labels={},
                priority=0,
                spec={},
                base={},
                config={},
                optuna_version="5.0.0",
                n_trials=1,
                max_parallel=1,
            )
        )
        session.flush()
        session.execute(
            text(
                "UPDATE jobs SET sweep_id = 'swp_1', trial_number = 0, seed_index = 0, "
                "kind = 'dataset' WHERE id = :id"
            ),
            {"id": other},
        )
    assert ids(JobFilter(states=[JobState.QUEUED])) == [other, plain]
    assert ids(JobFilter(states=[JobState.CANCELLED])) == [gone]
    assert ids(JobFilter(states=[JobState.CANCELLED, JobState.QUEUED])) == [gone, other, plain]
    assert ids(JobFilter(labels={"team": "alpha"})) == [plain]
    assert ids(JobFilter(labels={"team": "alpha", "kind": "x"})) == [plain]
    assert ids(JobFilter(labels={"team": "alpha", "kind": "y"})) == []
    assert ids(JobFilter(dataset="us")) == [other]
    assert ids(JobFilter(kind="dataset")) == [other]
    assert ids(JobFilter(sweep_id="swp_1")) == [other]
    assert ids(JobFilter(q="plain")) == [plain]
    assert ids(JobFilter(q="here")) == [other]
    assert ids(JobFilter(q="0% o")) == [other]
    assert ids(JobFilter(q="%")) == [other]
    assert ids(JobFilter(q="_")) == []
    assert ids(JobFilter(q=gone)) == [gone]
    at = {job_id: get(job_id).created_at for job_id, _ in page().items}
    assert ids(JobFilter(created_after=at[plain])) == [gone, other]
    assert ids(JobFilter(created_before=at[gone])) == [other, plain]
    assert ids(JobFilter(created_after=at[gone] + timedelta(days=1))) == []


def test_a_token_belongs_to_its_list(submit_job: Submit, page: Page) -> None:
    for _ in range(3):
        submit_job()
    token = page(page_size=1).next_page_token
    for wrong in (
        {"order_by": "name"},
        {"where": JobFilter(dataset="jp")},
        {"where": JobFilter(labels={"a": "b"})},
    ):
        with pytest.raises(InvalidSpecError) as caught:
            page(page_token=token, **wrong)
        assert caught.value.problems[0].pointer == "/query/page_token"
    assert page(page_size=2, page_token=token).items


def test_tokens_of_somebody_elses_making(submit_job: Submit, page: Page) -> None:
    for _ in range(2):
        submit_job()
    token = page(page_size=1).next_page_token
    assert token is not None
    owner = json.loads(base64.urlsafe_b64decode(token + "=="))[0]

    def made(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()

    day = "2020-01-01T00:00:00+00:00"
    for wrong in (
        "",
        "x",
        "é",
        "!!!!",
        made(3),
        made(None),
        made([]),
        made({}),
        made([owner, "yesterday", "job_1"]),
        made([owner, 7, "job_1"]),
        made([owner, [], "job_1"]),
        made([owner, None, "job_1"]),
        made([owner, day, "job_\x00"]),
        made([owner, day, "job_\ud800"]),
        made([owner, day]),
        made([[owner], day, "job_1"]),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ):
        with pytest.raises(InvalidSpecError):
            page(page_token=wrong)


@pytest.mark.parametrize("value", [1e400, 2**70, -(2**70), True, 1.5])
def test_tokens_with_other_numbers(value: float, submit_job: Submit, page: Page) -> None:
    for _ in range(2):
        submit_job()
    token = page(page_size=1, order_by="priority").next_page_token
    assert token is not None
    owner = json.loads(base64.urlsafe_b64decode(token + "=="))[0]
    made = base64.urlsafe_b64encode(json.dumps([owner, value, "job_1"]).encode()).decode()
    with pytest.raises(InvalidSpecError):
        page(page_token=made, order_by="priority")


def test_an_unknown_order(page: Page) -> None:
    for wrong in ("state", "--name", "", "name;"):
        with pytest.raises(InvalidSpecError) as caught:
            page(order_by=wrong)
        assert "created_at" in caught.value.problems[0].message
