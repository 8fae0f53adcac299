"""Connections and transactions. The database may restart at any time: nothing here remembers it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.dml import UpdateBase

from app.db import trail
from app.db.jsonb import dumps

FRESH_S = 1.0
"""A connection that has rested longer is asked whether it lives before it is used."""
_USED_AT = "gogooku3.used_at"
_AFTER_ROLLBACK = "gogooku3.after_rollback"

# A process that is suspended in the middle of a transaction must not hold its row locks for
# ever: the server ends such a session, and the reaper and other writers go on.
_LIMITS = (
    "SET TIME ZONE 'UTC'",
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '15s'",
)


class Database:
    """A pool of connections to one PostgreSQL database (`postgresql+psycopg://...`)."""

    def __init__(self, url: str, *, pool_size: int = 10, max_overflow: int = 10) -> None:
        self.engine = make_engine(url, pool_size=pool_size, max_overflow=max_overflow)
        # Rows stay readable after the commit: no use-case reads them again behind one's back.
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        event.listen(self._sessions, "after_flush", trail.note_created)
        self._readers = sessionmaker(
            self.engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        In the course of a request or command, what it writes is told in the audit log with it.
        """
        with self._sessions() as session:
            try:
                yield session
                trail.write(session)
                session.commit()
            except BaseException:
                session.rollback()
                for statement in session.info.pop(_AFTER_ROLLBACK, []):
                    session.execute(statement)
                session.commit()
                raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """For looking only: each statement sees what is committed when it runs, and nothing else
        goes over the line, neither a BEGIN nor a COMMIT."""
        with self._readers() as session:
            yield session

    def ping(self) -> None:
        """One round trip. Raises sqlalchemy.exc.SQLAlchemyError when the database is away."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


def after_rollback(session: Session, statement: UpdateBase) -> None:
    """Run `statement` in a transaction of its own if this one is rolled back.

    For what must be kept although the request fails, such as the count of rejected writes.
    """
    session.info.setdefault(_AFTER_ROLLBACK, []).append(statement)


def make_engine(url: str, **options: Any) -> Engine:
    """An engine whose connections are checked before use, bounded in time, and in UTC."""
    engine = create_engine(
        url,
        pool_timeout=10,
        json_serializer=dumps,
        # Errors are logged, and among what is stored are the secrets of webhooks.
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": "gogooku3",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        },
        **options,
    )

    # A connection that was in use a moment ago is not asked whether it lives: one that broke since
    # is told as an outage, and is replaced with the rest of the pool.
    @event.listens_for(engine, "checkin")
    def _note(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get(_USED_AT, float("-inf")) > FRESH_S:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in _LIMITS:
                cursor.execute(statement)
        connection.autocommit = False

    return engine
