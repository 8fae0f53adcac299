"""Lists of many jobs are read from indexes, whatever the filter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from app.api.answers import JobSummary
from app.db import Database, Job
from app.domain import JobState
from app.jobs.listing import LEFT_OUT, ORDERS, JobFilter, list_jobs
from app.jobs.pace import measure

JOBS = 8_000
FILL = text(
    """
    INSERT INTO jobs (id, kind, name, state, dataset, dataset_fingerprint, labels, priority,
                      spec, config, config_sources, resources, limits, attempt, attempts_used,
                      last_seq, force_requested, created_at)
    SELECT 'job_' || lpad(n::text, 26, '0'), 'train', 'run ' || n,
           (array['succeeded', 'failed', 'cancelled'])[1 + n % 3], 'jp', 'f',
           jsonb_build_object('team', 't' || (n % 200), 'run', n::text), n % 7,
           '{}', :config, '{}', '{}', '{}', 1, 1, 1, false, now() - make_interval(secs => n)
    FROM generate_series(1, :jobs) AS n
    """
)
ATTEMPTS = text(
    """
    INSERT INTO attempts (job_id, number, worker_id, lease_owner, slot, started_at, ended_at,
                          outcome, stale_writes)
    SELECT id, 1, 'w', 'w', 0, created_at, created_at + interval '1 minute', state, 0 FROM jobs
    """
)


@pytest.fixture(scope="module")
def many(connected: Database) -> Database:
    """A database with many jobs."""
    config = '{"long": "' + "0123456789abcdef" * 200 + '"}'
    with connected.session() as session:
        session.execute(FILL, {"jobs": JOBS, "config": config})
        session.execute(ATTEMPTS)
    with connected.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs, attempts"))
    return connected


def plan(database: Database, read: Callable[[Session], object]) -> str:
    """How the database carries out the one statement of `read`."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with database.session() as session:
            read(session)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    [(statement, parameters)] = statements
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("order_by", ORDERS)
def test_every_order_has_an_index(many: Database, order_by: str) -> None:
    told = plan(many, partial(list_jobs, where=JobFilter(), order_by=order_by))
    assert "Index Scan" in told
    assert "Sort" not in told


@pytest.mark.parametrize(
    "where",
    [
        JobFilter(states=(JobState.FAILED,)),
        JobFilter(states=(JobState.RUNNING,)),
        JobFilter(states=(JobState.FAILED, JobState.SUCCEEDED)),
        JobFilter(labels={"team": "t3"}),
        JobFilter(labels={"run": "777"}),
        JobFilter(labels={"team": "t3"}, states=(JobState.FAILED,)),
        JobFilter(dataset="jp"),
        JobFilter(dataset="none"),
        JobFilter(sweep_id="swp_1"),
    ],
    ids=str,
)
def test_every_filter_reads_an_index(many: Database, where: JobFilter) -> None:
    told = plan(many, partial(list_jobs, where=where, order_by="-created_at"))
    assert "Seq Scan" not in told


def test_the_pace_of_jobs_is_read_from_the_newest_runs_only(many: Database) -> None:
    told = plan(many, measure)
    assert "ix_attempts_pace" in told
    assert "Seq Scan" not in told
    assert "Sort" not in told


def test_lists_leave_the_configurations_where_they_are(many: Database) -> None:
    """They are out of line, and a list does not ask for them."""
    with many.session() as session:
        pages = session.scalar(text("SELECT relpages FROM pg_class WHERE relname = 'jobs'"))
        assert pages * 8192 / JOBS < 1000, "a row without its configuration is short"
        job = session.scalars(select(Job).options(*LEFT_OUT).limit(1)).one()
        assert "config" not in job.__dict__
        assert set(JobSummary.model_fields) <= set(job.__dict__)
