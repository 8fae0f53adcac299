"""The other processes of a run with several ranks: started, watched and ended by the leading one.

They are in its process group, so whoever kills that leaves none behind, and each ends by itself
when the leading process is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from gogooku3.events import FailureEvent, RunRequest, parse_event

GRACE_S = 10.0
"""How long the leading rank may take to notice by itself that another one is gone: a GPU's exchange
waits for it without end."""
EXIT_ORPHANED = 75


class Followers:
    """Ranks 1 and up of a run.

    Args:
        request: what the run was asked; each follower gets the same.
        meeting_point: a file that is not there yet.
        on_loss: told the failure when one ended badly and this process did not notice in time.
    """

    def __init__(
        self, request: RunRequest, meeting_point: Path, on_loss: Callable[[FailureEvent], None]
    ) -> None:
        self._on_loss = on_loss
        self._failures: list[FailureEvent] = []
        self._is_over = threading.Event()
        self._watchers: list[threading.Thread] = []
        leash_read, self._leash = os.pipe()
        try:
            for rank in range(1, request.ranks):
                self._start(rank, request, meeting_point, leash_read)
        finally:
            os.close(leash_read)

    def failure(self, timeout_s: float) -> FailureEvent | None:
        """Why the first of them ended badly, if one did or does so soon."""
        until = time.monotonic() + timeout_s
        while not self._failures and any(watcher.is_alive() for watcher in self._watchers):
            if time.monotonic() > until:
                break
            self._is_over.wait(0.05)
        return self._failures[0] if self._failures else None

    def end(self) -> None:
        """End those that still run, and wait for them."""
        self._is_over.set()
        os.close(self._leash)
        for watcher in self._watchers:
            watcher.join()

    def _start(self, rank: int, request: RunRequest, meeting_point: Path, leash: int) -> None:
        events_read, events_write = os.pipe()
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "gogooku3.training.run"),
                f"--events-fd={events_write}",
                f"--leash-fd={leash}",
                f"--rank={rank}",
                f"--meeting-point={meeting_point}",
            ],
            stdin=subprocess.PIPE,
            pass_fds=(events_write, leash),
        )
        os.close(events_write)
        assert process.stdin is not None
        process.stdin.write(request.model_dump_json().encode())
        process.stdin.close()
        watcher = threading.Thread(target=self._watch, args=(rank, process, events_read))
        watcher.daemon = True
        watcher.start()
        self._watchers.append(watcher)

    def _watch(self, rank: int, process: subprocess.Popen[bytes], events: int) -> None:
        told: FailureEvent | None = None
        with os.fdopen(events, "rb") as pipe:
            for line in pipe:
                told = _failure(line) or told
        code = process.wait()
        if code == 0 or self._is_over.is_set():
            return
        failure = told or FailureEvent(
            failure_class="killed",
            code="rank-lost",
            message=f"process {rank} of the run ended with exit code {code} without saying why",
            next_action="see the job's log; if the system ran out of memory, use less of it",
        )
        self._failures.append(failure)
        if not self._is_over.wait(GRACE_S):
            self._on_loss(failure)


def hold_on(leash: int) -> None:
    """End this process when the other end of the pipe is gone."""

    def watch() -> None:
        os.read(leash, 1)
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=watch, name="leash", daemon=True).start()


def _failure(line: bytes) -> FailureEvent | None:
    try:
        event = parse_event(line)
    except ValidationError:
        return None
    return event if isinstance(event, FailureEvent) else None
