"""Copies of the whole database, by PostgreSQL's own programs, which come with the wheel."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from app.embedded.postgres import programs_for

LOCK_WAIT = "30s"
EMPTY = """
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS optuna CASCADE;
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
"""Whatever was made there since the backup goes as well; backups do not create `public`."""


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
                text("SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'optuna')")
            )
    finally:
        engine.dispose()
    if tables and not replace:
        raise BackupError(
            f"the database holds {tables} tables already; say --replace to put the backup in their "
            "place, or name an empty database"
        )
    _bring_back(url, file, EMPTY if replace else "")


def _bring_back(url: str, file: Path, before: str) -> None:
    """Run the statements `before` and what the backup holds, in one transaction.

    pg_restore by itself can only drop what the backup holds, one thing at a time: not the tables
    that Optuna or a later version has made since. So psql runs what it writes.
    """
    environment, programs = _environment(url), programs_for(_server_version(url))
    command = [str(programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as psql:
        assert psql.stdin is not None
        # psql may have given up: then it says why.
        with suppress(BrokenPipeError):
            psql.stdin.write(f"BEGIN;\n{before}".encode())
            psql.stdin.flush()
        reading = subprocess.run(
            [
                str(programs / "pg_restore"),
                "--file=-",
                "--exit-on-error",
                "--no-owner",
                "--no-privileges",
                str(file),
            ],
            stdin=subprocess.DEVNULL,
            stdout=psql.stdin,
            stderr=subprocess.PIPE,
            check=False,
        )
        # Without this line, whatever has come so far is rolled back.
        end = b"COMMIT;\n" if reading.returncode == 0 else None
        _, told = psql.communicate(end)
    if psql.returncode != 0 or reading.returncode != 0:
        # When one of them ends early, the other may have something to say about that, too.
        words = {"pg_restore": _words(reading.stderr), "psql": _words(told)}
        raise BackupError("; ".join(f"{who}: {said}" for who, said in words.items() if said))


def _run(program: str, url: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on the database."""
    command = [str(programs_for(_server_version(url)) / program), *arguments]
    done = subprocess.run(
        command, env=_environment(url), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise BackupError(f"{program}: {_words(done.stderr)}")


def _environment(url: str) -> dict[str, str]:
    """Names the database to PostgreSQL's programs; its password is in no command line."""
    address = make_url(url)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "GOGOOKU3_"))
    }
    host = address.query.get("host", address.host or "localhost")
    port = address.query.get("port", address.port or 5432)
    return environment | {
        "PGHOST": str(host),
        "PGPORT": str(port),
        "PGUSER": address.username or "",
        "PGPASSWORD": str(address.password or ""),
        "PGDATABASE": address.database or "",
    }


def _words(told: bytes) -> str:
    return told.decode(errors="replace").strip()


def _server_version(url: str) -> int:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            number = connection.scalar(text("SELECT current_setting('server_version_num')"))
            return int(number or 0) // 10_000
    finally:
        engine.dispose()
