"""The process that builds a dataset."""

from __future__ import annotations

import subprocess
import sys

# What Python does with an exception in a destructor: it is told of, and gone.
SWALLOWED = """
import os, signal, threading
from gogooku3.data import task
from gogooku3.pipe import EventPipe

class Loses:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGTERM, task._interrupt)
read, write = os.pipe()
tell = task.Stages(EventPipe(write, threading.Event(), lambda event: None))
tell("starts", 0.0)
lost = Loses()
del lost
try:
    tell("read", 0.3)
except task.Interrupted:
    print("interrupted")
"""


def test_an_interruption_that_python_dropped_is_heard_at_the_next_stage() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED], capture_output=True, text=True, check=True
    )
    assert "Exception ignored" in done.stderr
    assert done.stdout == "interrupted\n"
