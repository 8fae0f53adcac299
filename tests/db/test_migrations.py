"""The migrations make exactly the tables that the code expects, and can be undone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
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
