"""The database for commands that work on it directly: the running one, or one started for them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.failures import CommandError
from app.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.artifacts import Artifacts
    from app.db.database import Database


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The configured database, that of the running server, or else the home's own, started for
    the length of the command.

    Raises HomeInUseError while a server is just starting in the home, EmbeddedServerError.
    """
    from app.embedded.home import HomeLock, running_up
    from app.embedded.postgres import EmbeddedPostgres

    if settings.database_url:
        yield settings.database_url
    elif (record := running_up(settings.home)) is not None:
        yield record.database_url
    else:
        with HomeLock(settings.home):
            postgres = EmbeddedPostgres(settings.home / "pg")
            try:
                yield postgres.start()
            finally:
                postgres.stop()


@contextmanager
def database(settings: Settings) -> Iterator[Database]:
    """The database, brought to the newest schema first."""
    from app.db.database import Database
    from app.db.migrate import upgrade

    with database_url(settings) as url:
        upgrade(url)
        opened = Database(url)
        try:
            yield opened
        finally:
            opened.dispose()


@contextmanager
def session(settings: Settings, action: str = "", *targets: str) -> Iterator[Session]:
    """One transaction on the database; what it changes is told in the audit log as `action`."""
    with database(settings) as opened, acting(action, *targets), opened.session() as open_session:
        yield open_session


def artifacts_here(settings: Settings) -> Artifacts | None:
    """What jobs left behind, as far as this machine can see it; None where it has no folder of
    that. Raises CommandError without the package that an object store needs."""
    from app.artifacts import StoreAwayError, artifacts_of

    try:
        found = artifacts_of(settings)
    except StoreAwayError as error:
        raise CommandError(str(error)) from error
    return found if found.is_shared or found.folder.is_dir() else None


@contextmanager
def acting(action: str, *targets: str) -> Iterator[None]:
    """What is changed until the end of the block is told as a command of this machine's user."""
    from app.db.trail import Trail, follow
    from app.domain import new_id

    trail = Trail(
        new_id("req"),
        is_change=bool(action),
        actor=f"cli:{_user()}",
        action=f"gogooku3 {action}",
        targets=list(targets),
    )
    with follow(trail):
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run us as a number without a name.
        return str(os.getuid())
