"""Copies of the whole database, by PostgreSQL's own programs, which come with the wheel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from app.embedded.postgres import programs_for

LOCK_WAIT = "30s"


class BackupError(Exception):
    """The database could not be copied or brought back; the message has the program's own words."""


def backup(url: str, file: Path) -> None:
    """Write the database into `file`, in one consistent view, while everything goes on.

    The file appears whole or not at all. Raises BackupError.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _run(
            "pg_dump",
            url,
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            "--no-sync",
            f"--lock-wait-timeout={LOCK_WAIT}",
            f"--file={unfinished}",
        )
        unfinished.chmod(0o600)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def restore(url: str, file: Path, *, replace: bool = False) -> None:
    """Bring a backup back, all of it or nothing; the schema is that of the backup afterwards.

    Raises BackupError, also when the database holds tables and `replace` was not said.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            tables = connection.scalar(
                text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            )
    finally:
        engine.dispose()
    if tables and not replace:
        raise BackupError(
            f"the database holds {tables} tables already; say --replace to put the backup in their "
            "place, or name an empty database"
        )
    _run(
        "pg_restore",
        url,
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        "--clean",
        "--if-exists",
        str(file),
    )


def _run(program: str, url: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on the database; its password is in no command line."""
    address = make_url(url)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "GOGOOKU3_"))
    }
    host = address.query.get("host", address.host or "localhost")
    port = address.query.get("port", address.port or 5432)
    environment |= {
        "PGHOST": str(host),
        "PGPORT": str(port),
        "PGUSER": address.username or "",
        "PGPASSWORD": str(address.password or ""),
        "PGDATABASE": address.database or "",
    }
    # pg_restore writes to its standard output unless it is told of a database.
    target = ["--dbname", address.database or ""] if program == "pg_restore" else []
    command = [str(programs_for(_server_version(url)) / program), *target, *arguments]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise BackupError(f"{program}: {done.stderr.decode(errors='replace').strip()}")


def _server_version(url: str) -> int:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            number = connection.scalar(text("SELECT current_setting('server_version_num')"))
            return int(number or 0) // 10_000
    finally:
        engine.dispose()
