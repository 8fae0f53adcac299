"""A Python process of the server that `up` starts, watches and ends: the API, the worker."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.embedded.process import launch

LOG_LIMIT = 50 * 2**20


@dataclass
class ChildProcess:
    """A child in a session of its own: Ctrl-C on the terminal reaches only `up`, which ends its
    children in order. On Linux it is asked to end when `up` itself is killed."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    grace_s: float
    """Seconds between asking it to end and killing it."""
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                launch(self.command, None, death_signal=signal.SIGTERM),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child and self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """Ask it to end, wait `grace_s`, then kill it."""
        if self._child is None:
            return
        if self.is_alive():
            self._child.terminate()
            try:
                self._child.wait(self.grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                self._child.wait()
        self._child = None

    def kill(self) -> None:
        """End it at once, without waiting; may be called from a signal handler."""
        if self._child is not None and self._child.returncode is None:
            os.kill(self._child.pid, signal.SIGKILL)

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 65_536))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
