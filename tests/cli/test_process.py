"""The API's and the worker's processes: logged, ended politely, killed when they resist."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from app.cli.process import ChildProcess

POLITE = """
import signal, sys, time
def end(number, frame):
    print("goodbye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("hello", flush=True)
while True:
    time.sleep(0.05)
"""
PARENT = """
import sys, time
from pathlib import Path
from app.cli.process import ChildProcess
ChildProcess([sys.executable, "-c", sys.argv[1]], {}, Path(sys.argv[2]), 5.0).start()
time.sleep(60)
"""
STUBBORN = POLITE.replace("sys.exit(0)", "pass")


def process(code: str, log: Path, *, grace_s: float = 10.0) -> ChildProcess:
    """A child running `code`."""
    return ChildProcess(
        command=[sys.executable, "-c", code], environment={"X": "1"}, log=log, grace_s=grace_s
    )


def wait_for_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_it_is_asked_to_end_and_its_output_is_logged(tmp_path: Path) -> None:
    child = process(POLITE, tmp_path / "log")
    assert not child.is_alive()
    assert child.pid is None
    child.start()
    wait_for_text(tmp_path / "log", "hello")
    assert child.is_alive()
    child.stop()
    assert not child.is_alive()
    assert child.log.read_text() == "hello\ngoodbye\n"


def test_one_that_resists_is_killed(tmp_path: Path) -> None:
    child = process(STUBBORN, tmp_path / "log", grace_s=0.3)
    child.start()
    wait_for_text(tmp_path / "log", "hello")
    pid = child.pid
    child.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_kill_does_not_wait_for_politeness(tmp_path: Path) -> None:
    child = process(STUBBORN, tmp_path / "log")
    child.start()
    wait_for_text(tmp_path / "log", "hello")
    child.kill()
    deadline = time.monotonic() + 10
    while child.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_later_start_appends_to_the_log(tmp_path: Path) -> None:
    child = process("print('once')", tmp_path / "log")
    for _ in range(2):
        child.start()
        while child.is_alive():
            time.sleep(0.02)
    assert child.last_lines() == "once\nonce"


def test_ctrl_c_on_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    child = process(POLITE, tmp_path / "log")
    child.start()
    wait_for_text(tmp_path / "log", "hello")
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid
    child.stop()


def test_it_is_asked_to_end_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, POLITE, log])
    try:
        wait_for_text(log, "hello")
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for_text(log, "goodbye")
