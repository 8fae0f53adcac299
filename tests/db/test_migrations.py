"""The migrations make exactly the tables that the code expects, and can be undone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.db import Base, migrate


def differences(url: str) -> list[object]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            return list(compare_metadata(context, Base.metadata))
    finally:
        engine.dispose()


def execute(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
    finally:
        engine.dispose()


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url)
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_down_up(empty_database_url: str) -> None:
    url = empty_database_url
    assert migrate.current(url) is None
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.head()
    assert tables(url) >= set(Base.metadata.tables)
    assert differences(url) == []
    migrate.downgrade(url, "base")
    assert tables(url) == {"alembic_version"}
    assert migrate.current(url) is None
    migrate.upgrade(url)
    assert differences(url) == []


def test_upgrade_of_an_upgraded_database_keeps_its_rows(empty_database_url: str) -> None:
    url = empty_database_url
    migrate.upgrade(url)
    execute(
        url,
        "INSERT INTO workers (id, host, pid, slots, device, current) "
        "VALUES ('wrk_1', 'h', 1, 1, 'cpu', '[]')",
    )
    migrate.upgrade(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM workers")) == 1
    engine.dispose()


def test_builds_go_and_training_jobs_stay_on_the_way_back(empty_database_url: str) -> None:
    url = empty_database_url
    migrate.upgrade(url)
    columns = (
        "name, state, labels, priority, spec, config, config_sources, resources, limits, attempt, "
        "attempts_used, last_seq, force_requested"
    )
    values = "'n', 'queued', '{}', 0, '{}', '{}', '{}', '{}', '{}', 0, 0, 1, false"
    for job_id, kind, fingerprint in (("job_1", "train", "'f'"), ("job_2", "dataset", "NULL")):
        execute(
            url,
            f"INSERT INTO jobs (id, kind, dataset, dataset_fingerprint, {columns}) "
            f"VALUES ('{job_id}', '{kind}', 'jp', {fingerprint}, {values})",
        )
        execute(
            url,
            "INSERT INTO events (job_id, seq, type, attempt, payload) "
            f"VALUES ('{job_id}', 1, 'state', 0, '{{}}')",
        )
    again = f"INSERT INTO jobs (id, kind, dataset, {columns}) VALUES ('job_3', "
    with pytest.raises(sa.exc.IntegrityError, match="uq_jobs_build"):
        execute(url, f"{again} 'dataset', 'jp', {values})")
    with pytest.raises(sa.exc.IntegrityError, match="trains_on_known_dataset"):
        execute(url, f"{again} 'train', 'jp', {values})")
    migrate.downgrade(url, "0001")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT id FROM jobs")).all() == ["job_1"]
        assert connection.scalars(sa.text("SELECT job_id FROM events")).all() == ["job_1"]
    engine.dispose()
    migrate.upgrade(url)
    assert differences(url) == []


def test_runs_of_sweeps_stay_without_them_on_the_way_back(empty_database_url: str) -> None:
    url = empty_database_url
    migrate.upgrade(url)
    execute(
        url,
        "INSERT INTO sweeps (id, name, state, dataset, dataset_fingerprint, labels, priority, "
        "spec, base, config, optuna_version, n_trials, max_parallel, created_trials, is_prepared, "
        "analysed_trials) VALUES ('swp_1', 'n', 'running', 'jp', 'f', '{}', 0, '{}', '{}', '{}', "
        "'4', 1, 1, 1, true, 0)",
    )
    execute(
        url,
        "INSERT INTO jobs (id, kind, dataset, dataset_fingerprint, name, state, labels, priority, "
        "spec, config, config_sources, resources, limits, attempt, attempts_used, last_seq, "
        "force_requested, sweep_id, trial_number, seed_index) VALUES ('job_1', 'train', 'jp', "
        "'f', 'n', 'queued', '{}', 0, '{}', '{}', '{}', '{}', '{}', 0, 0, 1, false, 'swp_1', 0, 0)",
    )
    execute(
        url,
        "INSERT INTO trials (sweep_id, number, params, job_id) VALUES ('swp_1', 0, '{}', 'job_1')",
    )
    migrate.downgrade(url, "0006")
    migrate.upgrade(url)
    assert differences(url) == []
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, sweep_id FROM jobs")).all()
        assert [tuple(row) for row in rows] == [("job_1", None)]
    engine.dispose()


def test_the_comparison_sees_a_difference(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    execute(empty_database_url, "ALTER TABLE jobs DROP COLUMN note")
    execute(empty_database_url, "DROP INDEX ix_jobs_queue")
    assert len(differences(empty_database_url)) == 2


def test_checks_are_in_the_database(empty_database_url: str) -> None:
    """Autogenerate does not compare check constraints."""
    migrate.upgrade(empty_database_url)
    wanted = {
        constraint.name
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    engine = sa.create_engine(empty_database_url)
    inspector = sa.inspect(engine)
    found = {
        check["name"]
        for table in Base.metadata.tables
        for check in inspector.get_check_constraints(table)
    }
    engine.dispose()
    assert {"ck_jobs_state", "ck_jobs_queued_is_wanted", "ck_jobs_running_has_lease"} <= wanted
    assert found == wanted


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: migrate.upgrade(empty_database_url), range(6)))
    assert migrate.current(empty_database_url) == migrate.head()
