"""What an `up` that was killed left running: recognised, asked to end, then killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.embedded.home import ChildRecord, read_up, remove_up, start_ticks

PATIENCE_S = 30.0
"""For a worker whose trainers write their checkpoints first."""
PYTHON_SERVERS = frozenset({"the API", "the worker"})
"""PostgreSQL and Valkey are seen to by their own start, which knows how they shut down."""


def end_leftovers(home: Path, say: Callable[[str], None]) -> None:
    """End the processes that the last `up` in this home recorded and did not stop.

    Call it with the home's lock held: then that `up` is dead. A pid counts only with the start
    time that was recorded, as pids are used again.
    """
    record = read_up(home)
    if record is None:
        return
    ours = [child for child in record.children if child.name in PYTHON_SERVERS and _lives(child)]
    if ours:
        say("ending what an earlier `gogooku3 up` left running")
    for number, patience_s in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, 5.0)):
        for child in ours:
            _send(child, number)
        ours = _wait(ours, patience_s)
    remove_up(home)


def _lives(child: ChildRecord) -> bool:
    return start_ticks(child.pid) == child.started


def _send(child: ChildRecord, number: signal.Signals) -> None:
    try:
        os.kill(child.pid, number)
    except ProcessLookupError:
        return


def _wait(children: Sequence[ChildRecord], patience_s: float) -> list[ChildRecord]:
    """Those that still live after `patience_s`."""
    deadline = time.monotonic() + patience_s
    left = [child for child in children if _lives(child)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [child for child in left if _lives(child)]
    return left
