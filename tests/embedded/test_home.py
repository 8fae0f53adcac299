"""One `up` per home, and everybody else finds its addresses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.home import (
    HomeInUseError,
    HomeLock,
    NotRunningError,
    UpRecord,
    addresses,
    is_locked,
    read_up,
    remove_up,
    start_ticks,
    write_up,
)
from app.settings import Settings

HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from app.embedded.home import HomeLock\n"
    "with HomeLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
)


def record(pid: int, started: int = 0) -> UpRecord:
    return UpRecord(
        pid=pid,
        started=started,
        url="http://127.0.0.1:8642",
        database_url="postgresql+psycopg://u@/d?host=/s",
        redis_url="unix:///s/b.sock?db=0",
    )


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        write_up(tmp_path, record(holder.pid))
        with pytest.raises(HomeInUseError, match=rf"pid {holder.pid}, http://127.0.0.1:8642"):
            HomeLock(tmp_path).__enter__()
        assert is_locked(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert not is_locked(tmp_path)
    with HomeLock(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_the_record_is_private_and_whole(tmp_path: Path) -> None:
    assert read_up(tmp_path) is None
    write_up(tmp_path, record(1))
    assert (tmp_path / "up.json").stat().st_mode & 0o077 == 0
    assert read_up(tmp_path) == record(1)
    remove_up(tmp_path)
    assert read_up(tmp_path) is None


def test_addresses_come_from_settings_or_from_a_living_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOGOOKU3_DATABASE_URL", raising=False)
    monkeypatch.delenv("GOGOOKU3_REDIS_URL", raising=False)
    settings = Settings(home=tmp_path)
    with pytest.raises(NotRunningError, match="gogooku3 up"):
        addresses(settings)
    write_up(tmp_path, record(2**22 + 1))  # beyond the largest pid there can be
    with pytest.raises(NotRunningError):
        addresses(settings)
    started = start_ticks(os.getpid()) or 0
    if sys.platform == "linux":
        # As in a container, where every `up` is process 1.
        write_up(tmp_path, record(os.getpid(), started - 1))
        with pytest.raises(NotRunningError):
            addresses(settings)
    write_up(tmp_path, record(os.getpid(), started))
    assert addresses(settings).database_url == record(1).database_url
    external = Settings(home=tmp_path, redis_url="redis://elsewhere:6379/0")
    assert addresses(external).redis_url == "redis://elsewhere:6379/0"
    assert addresses(external).database_url == record(1).database_url


def test_start_ticks_tell_a_process_from_a_later_one() -> None:
    mine = start_ticks(os.getpid())
    assert mine is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        ticks = start_ticks(later.pid)
        assert ticks is not None
        assert ticks >= mine
        later.kill()
    assert start_ticks(later.pid) is None
