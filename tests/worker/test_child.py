"""A child process keeps its number until it is reaped, whatever is asked of it before."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from worker.child import Child


def started(folder: Path, code: str) -> Child:
    return Child(folder, folder / "log.txt", dict(os.environ), [sys.executable, "-c", code])


def ended(child: Child) -> None:
    deadline = time.monotonic() + 30
    while not child.has_ended():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_that_has_ended_is_terminated_in_vain_and_reaped(tmp_path: Path) -> None:
    child = started(tmp_path, "raise SystemExit(7)")
    ended(child)
    child.terminate()
    assert child.has_ended()
    assert child.reap() == 7
    child.close()


def test_a_child_is_asked_to_end(tmp_path: Path) -> None:
    child = started(tmp_path, "import time; time.sleep(60)")
    child.terminate()
    assert child.reap() == -signal.SIGTERM
    child.close()
