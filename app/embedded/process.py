"""A server as a child process: start, watch, stop, and what an earlier life left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.embedded.account import Account

LAUNCHER = Path(__file__).with_name("launch.py")
SOCKET_PATH_LIMIT = 100
"""Bytes of a Unix socket's path; the kernel's own limit is 107 on Linux and 103 on macOS."""
LOG_LIMIT = 10 * 2**20
_SAFE_IN_ADDRESSES = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@~"
)


class EmbeddedServerError(Exception):
    """An embedded server could not be started; its log says more."""


class ServerProcess:
    """One server program run as a child of this process.

    On Linux the server is also told to shut down when the *thread* that started it ends, so
    that a killed caller leaves no server behind: start servers from a thread that lives on.
    """

    def __init__(self, name: str, folder: Path, *, stop_signals: Sequence[signal.Signals]) -> None:
        self.name = name
        self.folder = folder
        self._stop_signals = tuple(stop_signals)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server, else None."""
        return self._process.pid if self._process and self.is_alive() else None

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.folder / "server.log"

    def is_alive(self) -> bool:
        """Whether the child runs; a killed one is known at once, whatever it left on disk."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: Sequence[str | Path], account: Account | None = None) -> None:
        """Start the program. Raises EmbeddedServerError when it already runs."""
        if self.is_alive():
            raise EmbeddedServerError(f"{self.name} is already running")
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.move(self.log, self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                launch(command, account, death_signal=self._stop_signals[0]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
            )

    def wait_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Return when the server answers. Raises EmbeddedServerError (and stops it) otherwise."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.is_alive():
                raise EmbeddedServerError(f"{self.name} ended while starting:\n{self.log_tail()}")
            if is_ready():
                return
            time.sleep(0.02)
        self.stop()
        raise EmbeddedServerError(f"{self.name} did not answer in {timeout_s} s: see {self.log}")

    def stop(self, patience_s: float = 15.0) -> None:
        """End the child by ever stronger signals; does nothing when it has ended."""
        if self._process is None:
            return
        for number in (*self._stop_signals, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self._process = None

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the server's log."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def launch(
    command: Sequence[str | Path], account: Account | None, *, death_signal: signal.Signals
) -> list[str]:
    """The command line that runs `command` through the launcher, as `account` if given."""
    options = ["--parent", str(os.getpid()), "--signal", str(int(death_signal))]
    if account is not None:
        options += ["--uid", str(account.uid), "--gid", str(account.gid)]
        options += ["--reach"] if account.needs_reach else []
    program = [sys.executable, "-I", "-S", str(LAUNCHER)]
    return [*program, *options, "--", *(str(word) for word in command)]


def stop_leftovers(program: str, folder: Path, number: signal.Signals) -> None:
    """End servers that a killed caller left running in `folder`, and wait for their helpers.

    Only processes whose program is `program` *and* whose working folder is `folder` are ours;
    the pid file alone proves nothing, as pids are used again. Where there is no /proc, the
    server's own lock file has to do.
    """
    deadline = time.monotonic() + 20.0
    signalled: set[int] = set()
    while leftovers := _processes_in(program, folder):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"{program} {leftovers} of an earlier run will not end")
        if time.monotonic() > deadline - 5.0:
            number = signal.SIGKILL
            signalled.clear()
        for pid in set(leftovers) - signalled:
            _signal(pid, number)
            signalled.add(pid)
        time.sleep(0.05)


def _processes_in(program: str, folder: Path) -> list[int]:
    wanted = os.path.realpath(folder)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") != wanted:
                continue
            name = os.path.basename(os.readlink(entry / "exe")).removesuffix(" (deleted)")
        except OSError:  # another user's process, or one that has just ended
            continue
        if name == program:
            found.append(int(entry.name))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def can_bind(path: Path) -> bool:
    """Whether a Unix socket at `path` can be bound and named in an address.

    Too long a path, a shared folder without sockets, or a sign that a server's list of
    addresses takes for its own (comma, space, percent) all mean no.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT or not set(str(path)) <= _SAFE_IN_ADDRESSES:
        return False
    trial = path.with_name(".t")
    trial.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(str(trial))
        except OSError:
            return False
    trial.unlink(missing_ok=True)
    return True


def free_port() -> int:
    """A loopback TCP port nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
