"""A trainer or builder as a child process: its own session, its pipes, its log, its end."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from gogooku3.events import BuildRequest, RunRequest

TRAINER = (sys.executable, "-P", "-m", "gogooku3.training.run")
BUILDER = (sys.executable, "-P", "-m", "gogooku3.data.task")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""Read by each library when it is first imported, so they must stand before the process starts."""
READ_SIZE = 1 << 16
_BEAT = struct.Struct("<d")
logger = logging.getLogger(__name__)


class Child:
    """A started process. It idles until `send` gives it its request.

    It holds the read end of the lifeline: when this process dies, however that happens, the child
    sees the end of the pipe and ends; a trainer writes its resume state first.
    """

    def __init__(
        self, folder: Path, log: Path, environment: dict[str, str], command: Sequence[str]
    ) -> None:
        """Start the process in `folder`, its output appended to `log`. Raises OSError."""
        events_read, events_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [
                        *command,
                        f"--events-fd={events_write}",
                        f"--lifeline-fd={lifeline_read}",
                    ],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(events_write, lifeline_read),
                    cwd=folder,
                    env=environment,
                    start_new_session=True,
                )
        except OSError:
            os.close(events_read)
            os.close(lifeline_write)
            raise
        finally:
            os.close(events_write)
            os.close(lifeline_read)
        self._events = events_read
        self._lifeline = lifeline_write
        self._rest = b""
        self._is_drained = False
        for fd in (events_read, lifeline_write):
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)

    @property
    def pid(self) -> int:
        """Process id, which is also that of its session and process group."""
        return self._process.pid

    @property
    def events_fd(self) -> int:
        """To wait on until `read_lines` has something."""
        return self._events

    def send(self, request: RunRequest | BuildRequest) -> None:
        """Tell it what to do. A child that is already gone is seen by its exit."""
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):
            stdin.write(request.model_dump_json().encode())
            stdin.flush()
        with suppress(BrokenPipeError):
            stdin.close()

    def renewed(self, at: float) -> None:
        """The lease was renewed by a transaction begun at `at` (time.monotonic())."""
        try:
            os.write(self._lifeline, _BEAT.pack(at))
        except (BlockingIOError, BrokenPipeError):
            # It does not read: suspended (it will see an old time, and end) or gone.
            logger.debug("child %s did not take the lease's renewal", self.pid)

    def read_lines(self) -> list[bytes]:
        """The whole lines that have arrived, without waiting. A killed child's last line may be
        cut off: it is dropped."""
        while not self._is_drained:
            try:
                read = os.read(self._events, READ_SIZE)
            except BlockingIOError:
                break
            self._is_drained = not read
            self._rest += read
            if len(self._rest) > 16 * READ_SIZE:
                break
        *lines, self._rest = self._rest.split(b"\n")
        return [line for line in lines if line]

    @property
    def is_drained(self) -> bool:
        """Whether the pipe is at its end."""
        return self._is_drained

    def has_ended(self) -> bool:
        """Whether the process has ended; it stays a zombie, which keeps its group's number."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def terminate(self) -> None:
        """Ask it to end in order."""
        if self._process.returncode is None:
            # Not `send_signal`: it would reap a child that has just ended, and with it the number.
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and everything it started, at once."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Wait for the end, with whatever it started; returns the exit code (-N = signal N)."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        return self._process.wait()

    def close(self) -> None:
        """Close the pipes of an ended child."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        os.close(self._events)
        os.close(self._lifeline)


SOURCE_KEYS = ("JQUANTS_",)
"""Beginnings of the variables that let their holder fetch data: for a builder that does."""


def child_environment(cpu_threads: int, gpus: str | None) -> dict[str, str]:
    """Our environment without our credentials and those of the data's sources, with thread caps and
    the slots' GPUs alone."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GOGOOKU3_", "AWS_", *SOURCE_KEYS))
    }
    environment |= dict.fromkeys(THREAD_VARIABLES, str(cpu_threads))
    environment |= {
        "CUDA_VISIBLE_DEVICES": gpus or "",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    return environment
