"""The embedded PostgreSQL keeps committed rows through kill -9, wherever its folder is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import EmbeddedServerError

Make = Callable[[Path], EmbeddedPostgres]


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def kill(server: EmbeddedPostgres) -> int:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pid


def test_committed_rows_survive_kill_9(folder: Path, make_postgres: Make) -> None:
    server = make_postgres(folder / "pg")
    url = server.start()
    run(url, "CREATE TABLE t (x int)")
    run(url, "INSERT INTO t SELECT generate_series(1, 1000)")
    first = kill(server)
    assert not server.is_alive()

    assert server.start() == url
    assert server.pid != first
    assert run(url, "SELECT count(*) FROM t") == [(1000,)]


def test_is_durable_and_private(folder: Path, make_postgres: Make) -> None:
    server = make_postgres(folder / "pg")
    url = server.start()
    names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "TimeZone")
    settings = [run(url, f"SHOW {name}")[0][0] for name in names]
    assert settings == ["on", "on", "on", "", "UTC"]
    assert (folder / "pg" / "data").stat().st_mode & 0o077 == 0
    assert (folder / "pg" / "password").stat().st_mode & 0o077 == 0
    assert (folder / "pg").stat().st_mode & 0o077 == 0


def test_runs_in_a_folder_only_we_may_pass(folder: Path, make_postgres: Make) -> None:
    # As a home under /root is to the account that root runs PostgreSQL under.
    (folder / "closed").mkdir(mode=0o700)
    server = make_postgres(folder / "closed" / "deep" / "pg")
    url = server.start()
    run(url, "CREATE TABLE t (x int)")
    kill(server)
    server.start()
    assert run(url, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("name", ["x" * 110, "a space, a comma and 100%"])
def test_falls_back_to_loopback_with_a_password(
    folder: Path, make_postgres: Make, name: str
) -> None:
    server = make_postgres(folder / name / "pg")
    url = server.start()
    assert "host=127.0.0.1" in url
    assert run(url, "SELECT 1") == [(1,)]
    password = (folder / name / "pg" / "password").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        run(url.replace(password, "wrong"), "SELECT 1")


def test_a_pid_file_of_another_living_process_is_no_obstacle(
    folder: Path, make_postgres: Make
) -> None:
    server = make_postgres(folder / "pg")
    url = server.start()
    killed = kill(server)
    lock = folder / "pg" / "data" / "postmaster.pid"
    # After a reboot the pid may be anybody's: here it is this test's.
    lock.write_text(lock.read_text().replace(str(killed), str(os.getpid()), 1))
    server.start()
    assert run(url, "SELECT 1") == [(1,)]


def test_an_unfinished_initdb_is_done_again(folder: Path, make_postgres: Make) -> None:
    (folder / "pg" / "data.new").mkdir(parents=True)
    (folder / "pg" / "data.new" / "PG_VERSION").write_text("18")
    assert run(make_postgres(folder / "pg").start(), "SELECT 1") == [(1,)]


def test_a_killed_caller_leaves_no_server_and_no_obstacle(
    folder: Path, make_postgres: Make
) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from app.embedded.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "pg")],
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    left = int(done.stdout)
    server = make_postgres(folder / "pg")
    assert run(server.start(), "SELECT 1") == [(1,)]
    assert server.pid != left
    assert not is_running(left)


def test_a_living_leftover_is_ended_first(folder: Path, make_postgres: Make) -> None:
    other = make_postgres(folder / "pg")
    run(other.start(), "CREATE TABLE t (x int)")
    left = other.pid
    assert left is not None
    server = make_postgres(folder / "pg")
    assert run(server.start(), "SELECT count(*) FROM t") == [(0,)]
    assert not is_running(left)


def test_a_server_that_cannot_start_says_why(folder: Path, make_postgres: Make) -> None:
    server = make_postgres(folder / "pg")
    server.start()
    server.stop()
    (folder / "pg" / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(EmbeddedServerError, match="pg_control"):
        server.start()
    assert not server.is_alive()


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
