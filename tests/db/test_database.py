"""Transactions, restarts, limits in time, and odd values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from math import inf, nan

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.db import Database, Worker
from app.db.database import after_rollback
from app.db.jsonb import dumps, storable


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, pool_size=2, max_overflow=2)
    with database.session() as session:
        session.execute(text("TRUNCATE workers"))
    yield database
    database.dispose()


def worker(name: str) -> Worker:
    return Worker(id=name, host="h", pid=1, slots=1, device="cpu", current=[])


def names(database: Database) -> set[str]:
    with database.session() as session:
        return set(session.scalars(select(Worker.id)))


def test_commits_at_the_end_and_rolls_back_on_an_error(database: Database) -> None:
    with database.session() as session:
        session.add(worker("wrk_1"))

    def fail() -> None:
        with database.session() as session:
            session.add(worker("wrk_2"))
            session.flush()
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        fail()
    assert names(database) == {"wrk_1"}


def test_rows_stay_readable_after_the_commit(database: Database) -> None:
    with database.session() as session:
        added = worker("wrk_1")
        session.add(added)
    assert added.heartbeat_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("failing", ["1 / 0", "pg_terminate_backend(pg_backend_pid())"])
def test_errors_do_not_tell_what_was_to_be_stored(database: Database, failing: str) -> None:
    statement = text(f"SELECT {failing}, CAST(:secret AS text)")
    with pytest.raises(DBAPIError) as caught, database.session() as session:
        session.execute(statement, {"secret": "whsec_x"})
    assert "SELECT" in str(caught.value)
    assert "whsec_x" not in str(caught.value)


def test_what_must_be_kept_survives_a_rollback(database: Database) -> None:
    with database.session() as session:
        session.add(worker("wrk_1"))

    def fail() -> None:
        with database.session() as session:
            session.add(worker("wrk_2"))
            after_rollback(session, update(Worker).values(slots=7))
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        fail()
    with database.session() as session:
        assert session.execute(select(Worker.id, Worker.slots)).all() == [("wrk_1", 7)]


def test_what_is_kept_for_a_rollback_is_not_done_by_a_commit(database: Database) -> None:
    with database.session() as session:
        session.add(worker("wrk_1"))
        after_rollback(session, update(Worker).values(slots=7))
    with database.session() as session:
        assert session.scalar(select(Worker.slots)) == 1


def test_connections_cut_by_the_server_are_replaced(database: Database) -> None:
    database.ping()
    with database.session() as outer:
        outer.execute(text("SELECT 1"))
        with database.session() as other:
            other.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        with pytest.raises(SQLAlchemyError):
            outer.execute(text("SELECT 1"))
        outer.rollback()
    for _ in range(4):
        database.ping()


def test_a_suspended_process_cannot_hold_locks_for_ever(database: Database) -> None:
    with database.session() as session:
        shown = {
            name: session.scalar(text(f"SHOW {name}"))
            for name in (
                "idle_in_transaction_session_timeout",
                "statement_timeout",
                "lock_timeout",
                "TimeZone",
            )
        }
    assert shown == {
        "idle_in_transaction_session_timeout": "15s",
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "TimeZone": "UTC",
    }


def test_the_server_ends_an_idle_transaction_and_frees_its_lock(database: Database) -> None:
    with database.session() as session:
        session.add(worker("wrk_1"))
    with database.session() as suspended:
        suspended.execute(text("SET LOCAL idle_in_transaction_session_timeout = '200ms'"))
        suspended.execute(update(Worker).values(slots=2))
        with database.session() as other:
            other.execute(update(Worker).values(slots=3))
        with pytest.raises(SQLAlchemyError):
            suspended.execute(text("SELECT 1"))
        suspended.rollback()
    with database.session() as session:
        assert session.scalar(select(Worker.slots)) == 3


def test_ping_says_when_the_database_is_away() -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(SQLAlchemyError):
        away.ping()
    away.dispose()


def test_odd_values_reach_the_table(database: Database) -> None:
    odd = {"loss": nan, "high": inf, "deep": [{"low": -inf}], "nul": "a\x00b", "half": "x\ud800"}
    with database.session() as session:
        added = worker("wrk_1")
        added.current = [odd, {"fine": "\U0001f600 \\u0000"}]
        session.add(added)
    with database.session() as session:
        assert session.scalar(select(Worker.current)) == [
            {
                "loss": None,
                "high": None,
                "deep": [{"low": None}],
                "nul": "a\ufffdb",
                "half": "x\ufffd",
            },
            {"fine": "\U0001f600 \\u0000"},
        ]


def test_dumps_leaves_ordinary_values_alone() -> None:
    assert dumps({"a": [1, 2.5, None, True, "é"]}) == '{"a":[1,2.5,null,true,"é"]}'
    assert storable({1: (nan, "\x00")}) == {"1": [None, "\ufffd"]}
