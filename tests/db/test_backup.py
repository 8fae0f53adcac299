"""A backup is the whole database of one moment, and comes back whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import optuna
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


def change(url: str, statement: str) -> None:
    """Run a statement."""
    database = Database(url)
    with database.session() as session:
        session.execute(text(statement))
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


def test_backup_of_before_the_first_sweep_comes_back_after_it(
    fresh_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url:
        make_key(url, "first")
        backup(url, file)
        make_key(url, "second")
        # Optuna makes its tables when the first study begins.
        storage = optuna.storages.RDBStorage(f"{url}&options=-csearch_path%3Doptuna")
        storage.engine.dispose()
        study_tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'optuna'"
        assert rows(url, study_tables)
        restore(url, file, replace=True)
        assert rows(url, "SELECT name FROM api_keys") == [("first",)]
        assert rows(url, study_tables) == []


def test_backup_of_an_older_schema_takes_the_place_of_a_newer_one(
    empty_database_url: str, tmp_path: Path
) -> None:
    url, file = empty_database_url, tmp_path / "gogooku3.backup"
    migrate.upgrade(url, "0003")
    backup(url, file)
    migrate.upgrade(url)
    make_key(url, "later")
    restore(url, file, replace=True)
    assert migrate.current(url) == "0003"
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.head()
    assert rows(url, "SELECT name FROM api_keys") == []


def test_damaged_backup_changes_nothing(
    fresh_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url:
        make_key(url, "kept")
        backup(url, file)
        whole = file.read_bytes()
        for damaged in (whole[:-2000], whole[: len(whole) // 2], b"", b"SELECT 1;"):
            file.write_bytes(damaged)
            with pytest.raises(BackupError, match="pg_restore"):
                restore(url, file, replace=True)
            assert rows(url, "SELECT name FROM api_keys") == [("kept",)]


def test_backup_that_the_database_refuses_changes_nothing(
    fresh_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    file = tmp_path / "gogooku3.backup"
    with fresh_database() as url, fresh_database() as other:
        make_key(url, "kept")
        make_key(other, "refused")
        # Neither schema is ours to drop.
        change(other, "CREATE SCHEMA reports")
        change(url, "CREATE SCHEMA reports")
        backup(other, file)
        with pytest.raises(BackupError, match=r'psql.*"reports" already exists'):
            restore(url, file, replace=True)
        assert rows(url, "SELECT name FROM api_keys") == [("kept",)]


def test_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="connection"):
        backup("postgresql+psycopg://x@127.0.0.1:1/x", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
