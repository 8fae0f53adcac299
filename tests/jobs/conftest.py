"""Jobs in a real database, emptied before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.db import Base, Database, Job
from app.jobs.claim import Claim, claim
from app.jobs.offer import Offer
from app.jobs.submit import submit
from gogooku3.config import JobSpec
from gogooku3.data.header import DatasetHeader

SPEC: dict[str, Any] = {
    "name": "baseline",
    "dataset": "jp",
    "labels": {"hypothesis": "adabelief"},
    "config": {
        "max_epochs": 5,
        "data": {"split": {"train_end": "2020-06-30", "valid_end": "2020-09-30"}},
        "batch": {"accumulate": 4},
    },
}


@pytest.fixture(scope="module")
def connected(database_url: str) -> Iterator[Database]:
    database = Database(database_url, pool_size=20, max_overflow=40)
    yield database
    database.dispose()


@pytest.fixture
def database(connected: Database) -> Database:
    """The module's database with empty tables."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with connected.session() as session:
        session.execute(text(f"TRUNCATE {tables}"))
    return connected


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """A folder with the file of a dataset, which nobody reads here."""
    (tmp_path / "jp.arrow").touch()
    return tmp_path


@pytest.fixture
def header(caches: Path) -> DatasetHeader:
    """A dataset as its header describes it."""
    first = date(2019, 1, 1)
    return DatasetHeader(
        name="jp",
        path=caches / "jp.arrow",
        rows=1000,
        stocks=10,
        calendar=tuple(first + timedelta(days=day) for day in range(700)),
        features=(),
        horizons=(1, 5, 10, 20),
        fingerprint="f" * 64,
        fingerprints={},
        size_bytes=1,
        layout_version=1,
        normalisation="rank",
        storage="float32",
        universe={"first_day": 60},
        planted=None,
        source={},
        quality={},
        report=(),
        created_at="2026-01-01T00:00:00+00:00",
        code_version="test",
    )


ONE_SLOT = Offer(cpu=[0])
Submit = Callable[..., str]
Take = Callable[..., Claim]


@pytest.fixture
def submit_job(database: Database, header: DatasetHeader) -> Submit:
    """Store a job, `SPEC` with changes; answers its id."""

    def submit_one(*, api_key_id: str | None = None, **changes: Any) -> str:
        given = {**SPEC, **changes}
        spec = JobSpec.model_validate(given)
        with database.session() as session:
            return submit(session, spec, given=given, header=header, api_key_id=api_key_id).id

    return submit_one


@pytest.fixture
def take(database: Database) -> Callable[..., Claim | None]:
    """Claim the next job."""

    def take_one(
        *, lease_s: float = 60.0, offer: Offer = ONE_SLOT, worker_id: str = "wrk_test"
    ) -> Claim | None:
        with database.session() as session:
            return claim(session, worker_id=worker_id, lease_s=lease_s, offer=offer)

    return take_one


@pytest.fixture
def running(submit_job: Submit, take: Take) -> Claim:
    """A job that has just been claimed."""
    submit_job()
    return take()


@pytest.fixture
def get(database: Database) -> Callable[[str], Job]:
    """A job as it is in the database now."""

    def get_one(job_id: str) -> Job:
        with database.session() as session:
            job = session.get(Job, job_id)
            assert job is not None
            return job

    return get_one


@pytest.fixture
def expire(database: Database) -> Callable[[str], None]:
    """Let a job's lease run out."""

    def expire_one(job_id: str) -> None:
        with database.session() as session:
            session.execute(
                text("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id"),
                {"id": job_id},
            )

    return expire_one


@pytest.fixture
def ready(database: Database) -> Callable[[], None]:
    """End every back-off."""

    def ready_all() -> None:
        with database.session() as session:
            session.execute(text("UPDATE jobs SET not_before = NULL"))

    return ready_all
