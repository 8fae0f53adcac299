"""The server's folder: who runs in it, and where that one's database and broker are."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from app.settings import Settings


class HomeInUseError(Exception):
    """Another `gogooku3 up` runs in this home; stop it first, or set GOGOOKU3_HOME."""


class NotRunningError(Exception):
    """No server runs in this home; start one with `gogooku3 up`, or set the two addresses."""


class ChildRecord(BaseModel):
    """A process that `up` started; a pid is only the same process with the same start time."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: int
    """Clock ticks from boot to the start of the process; 0 where the system does not tell."""


class UpRecord(BaseModel):
    """What a running `up` writes for everybody else: home/up.json."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: int
    """As of a `ChildRecord`: in a container, every `up` has the same pid."""
    url: str
    """Address of the HTTP API."""
    database_url: str
    redis_url: str
    children: tuple[ChildRecord, ...] = ()


@dataclass(frozen=True)
class Addresses:
    """Where the database and the broker are."""

    database_url: str
    redis_url: str


class HomeLock:
    """The right to run servers in a home; ends with the process, however that dies."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises HomeInUseError naming who has it."""
        self._home.mkdir(parents=True, exist_ok=True)
        file = os.open(self._home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise HomeInUseError(_in_use(self._home)) from None
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_locked(home: Path) -> bool:
    """Whether a live process holds the home's lock."""
    try:
        with HomeLock(home):
            return False
    except HomeInUseError:
        return True


def write_up(home: Path, record: UpRecord) -> None:
    """Publish the record, whole or not at all; only this user may read it (it holds passwords)."""
    temporary = home / f"up.json.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(record.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(home / "up.json")


def read_up(home: Path) -> UpRecord | None:
    """The last record written in this home, by a running or a dead `up`; None without one."""
    try:
        return UpRecord.model_validate_json((home / "up.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def running_up(home: Path) -> UpRecord | None:
    """The record of the `up` that runs in this home; None when none does."""
    record = read_up(home)
    is_running = record is not None and start_ticks(record.pid) == record.started
    return record if is_running else None


def remove_up(home: Path) -> None:
    """Withdraw the record."""
    (home / "up.json").unlink(missing_ok=True)


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None = no such process."""
    if not Path("/proc/self").exists():
        return 0 if _exists(pid) else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def addresses(settings: Settings) -> Addresses:
    """The configured addresses, else those of the `up` that runs in the home.

    Raises NotRunningError when one is neither configured nor running.
    """
    if settings.database_url and settings.redis_url:
        return Addresses(settings.database_url, settings.redis_url)
    record = running_up(settings.home)
    if record is None:
        raise NotRunningError(
            f"no server runs in {settings.home}: start one with `gogooku3 up`, or set "
            "GOGOOKU3_DATABASE_URL and GOGOOKU3_REDIS_URL"
        )
    return Addresses(
        settings.database_url or record.database_url, settings.redis_url or record.redis_url
    )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_use(home: Path) -> str:
    record = read_up(home)
    if record is None:
        return f"another `gogooku3 up` is starting in {home}"
    return (
        f"`gogooku3 up` already runs in {home}: pid {record.pid}, {record.url}; stop it first, or "
        "set GOGOOKU3_HOME to another folder"
    )
