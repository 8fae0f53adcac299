"""Bring a database to the schema of this version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

_LOCK = 6_046_600_317
"""Advisory lock: processes that start together migrate one after the other."""


def upgrade(url: str, revision: str = "head") -> None:
    """Run the missing migrations, all in one transaction; does nothing when there are none."""
    with _connection(url) as connection:
        command.upgrade(configuration(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to an older schema. What the newer one added is lost."""
    with _connection(url) as connection:
        command.downgrade(configuration(connection), revision)


def current(url: str) -> str | None:
    """The revision of the database; None when it has never been migrated."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def head() -> str:
    """The revision of this version."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise RuntimeError("the migrations are missing from the installation")
    return revision


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the migrations that are installed with the program."""
    config = Config()
    # Alembic interpolates options: a percent sign in the path would be taken for a name.
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
    finally:
        engine.dispose()
