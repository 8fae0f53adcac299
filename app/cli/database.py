"""The database for commands that work on it directly: the running one, or one started for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The configured database, that of the running server, or else the home's own, started for
    the length of the command.

    Raises HomeInUseError while a server is just starting in the home, EmbeddedServerError.
    """
    from app.embedded.home import HomeLock, read_up, start_ticks
    from app.embedded.postgres import EmbeddedPostgres

    record = read_up(settings.home)
    if settings.database_url:
        yield settings.database_url
    elif record is not None and start_ticks(record.pid) is not None:
        yield record.database_url
    else:
        with HomeLock(settings.home):
            postgres = EmbeddedPostgres(settings.home / "pg")
            try:
                yield postgres.start()
            finally:
                postgres.stop()


@contextmanager
def session(settings: Settings) -> Iterator[Session]:
    """One transaction on the database, brought to the newest schema first."""
    from app.db.database import Database
    from app.db.migrate import upgrade

    with database_url(settings) as url:
        upgrade(url)
        database = Database(url)
        try:
            with database.session() as open_session:
                yield open_session
        finally:
            database.dispose()
