"""A backup is the whole database of one moment, and comes back whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db import Database, migrate
from app.db.backup import BackupError, backup, restore
from app.domain import Scope
from app.jobs import keys


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    """What a query answers."""
    database = Database(url)
    try:
        with database.reading() as session:
            return [tuple(row) for row in session.execute(text(statement))]
    finally:
        database.dispose()


def make_key(url: str, name: str) -> None:
    """Change something."""
    database = Database(url)
    with database.session() as session:
        keys.create(session, name, Scope.READ)
    database.dispose()


def test_backup_comes_back_into_an_empty_database(
    fresh_database: Callable[[], AbstractContextManager[str]],
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url:
        make_key(url, "kept")
        backup(url, file)
        make_key(url, "later")
        assert file.stat().st_mode & 0o777 == 0o600, "it holds hashes and secrets"
        assert list(tmp_path.iterdir()) == [file], "nothing is left beside it"
        restore(empty_database_url, file)
        assert rows(empty_database_url, "SELECT name FROM api_keys") == [("kept",)]
        assert migrate.current(empty_database_url) == migrate.head()
        # Numbers go on where they were.
        make_key(empty_database_url, "after")


def test_backup_does_not_replace_a_database_unasked(
    fresh_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url:
        make_key(url, "first")
        backup(url, file)
        make_key(url, "second")
        with pytest.raises(BackupError, match="--replace"):
            restore(url, file)
        assert len(rows(url, "SELECT id FROM api_keys")) == 2
        restore(url, file, replace=True)
        assert rows(url, "SELECT name FROM api_keys") == [("first",)]


def test_damaged_backup_changes_nothing(
    fresh_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url:
        make_key(url, "kept")
        backup(url, file)
        file.write_bytes(file.read_bytes()[:-2000])
        with pytest.raises(BackupError, match="pg_restore"):
            restore(url, file, replace=True)
        assert rows(url, "SELECT name FROM api_keys") == [("kept",)]


def test_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="connection"):
        backup("postgresql+psycopg://x@127.0.0.1:1/x", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
