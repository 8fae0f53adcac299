"""The trainer process: `python -m gogooku3.training.run --events-fd N [--lifeline-fd M]`.

A RunRequest comes as JSON on standard input; events go as JSON lines to the inherited pipe N;
lease renewals come through the pipe M. SIGTERM asks for the resume state and an end.
Exit codes: 0 = completed or stopped early, 3 = interrupted, 4 = failed (after a failure event),
75 = the lease was lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from types import FrameType

from pydantic import ValidationError

from gogooku3.events import FailureEvent, RunRequest
from gogooku3.lifeline import Lifeline
from gogooku3.pipe import EXIT_FAILED, EXIT_INTERRUPTED, EventPipe
from gogooku3.training import log


def main(arguments: list[str] | None = None) -> int:
    """Run one training; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gogooku3.training.run")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int)
    given = parser.parse_args(arguments)
    log.to_standard_output()
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    pipe = EventPipe(given.events_fd, stop, log.tell)
    try:
        request = RunRequest.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        pipe.send(FailureEvent(failure_class="user", code="invalid-request", message=str(error)))
        return EXIT_FAILED
    if given.lifeline_fd is not None and request.lease_s is not None:
        Lifeline(given.lifeline_fd, request.lease_s, stop.set).start()
    return run(request, pipe, stop)


def run(request: RunRequest, pipe: EventPipe, stop: threading.Event) -> int:
    """Train as asked; every end is told through the pipe."""
    # Threads that wait by spinning take the cores from whoever they wait for: beside a few other
    # processes on two cores a step took 20 times longer. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch takes seconds to load: the lifeline is watched and SIGTERM heard before that.
    import torch

    from gogooku3.training.failure import failure_of
    from gogooku3.training.trainer import train

    try:
        torch.set_num_threads(request.cpu_threads)
        torch.set_num_interop_threads(request.cpu_threads)
        result = train(
            request.config,
            dataset=request.dataset,
            out_dir=request.out_dir,
            on_event=pipe.send,
            should_stop=stop.is_set,
            resume=request.resume,
            recorded_epoch=request.recorded_epoch,
            device=request.device,
        )
    except Exception as error:
        traceback.print_exc()
        pipe.send(failure_of(error))
        return EXIT_FAILED
    return EXIT_INTERRUPTED if result.outcome == "interrupted" else 0


if __name__ == "__main__":
    sys.exit(main())
