"""A trainer process run by the command line, without a server: events come through a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from gogooku3.events import Event, RunRequest, parse_event

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def thread_caps(threads: int) -> dict[str, str]:
    """The environment that holds the arithmetic libraries to `threads`; each of them reads it
    once, when it is loaded."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


class Trainer:
    """`python -m gogooku3.training.run` as a child; what it prints goes to a log."""

    def __init__(self, request: RunRequest, log: Path) -> None:
        reading, writing = os.pipe()
        try:
            self._child = self._spawn(request, log, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._events = os.fdopen(reading, "rb")

    @staticmethod
    def _spawn(request: RunRequest, log: Path, writing: int) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "gogooku3.training.run", "--events-fd", str(writing)],
                env={**os.environ, **thread_caps(request.cpu_threads)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[writing],
                # Ctrl-C reaches it through us, as a request to write its resume state.
                start_new_session=True,
            )
        assert child.stdin is not None
        # A trainer that died before it read its request is told by its exit code and its log.
        with suppress(BrokenPipeError), child.stdin as stdin:
            stdin.write(request.model_dump_json().encode())
        return child

    def events(self) -> Iterator[Event]:
        """What the trainer tells, until it ends."""
        with self._events:
            for line in self._events:
                yield parse_event(line)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._child.wait()

    @contextmanager
    def relaying_signals(self) -> Iterator[None]:
        """While this runs, the first Ctrl-C asks the trainer to stop, the second kills it."""
        asked = 0

        def relay(number: int, frame: FrameType | None) -> None:
            nonlocal asked
            asked += 1
            self._child.send_signal(signal.SIGTERM if asked == 1 else signal.SIGKILL)

        before = {
            number: signal.signal(number, relay) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait()
