"""The trainer process: `python -m gogooku3.training.run --events-fd N [--lifeline-fd M]`.

A RunRequest comes as JSON on standard input; events go as JSON lines to the inherited pipe N;
lease renewals come through the pipe M. SIGTERM asks for the resume state and an end. With several
ranks this process leads, and starts the others.
Exit codes: 0 = completed or stopped early, 3 = interrupted, 4 = failed (after a failure event),
75 = the lease was lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gogooku3.config import BY_GRADIENT
from gogooku3.events import FailureEvent, RunRequest
from gogooku3.lifeline import Lifeline
from gogooku3.pipe import EXIT_FAILED, EXIT_INTERRUPTED, EventPipe, print_traceback
from gogooku3.training import log, warm
from gogooku3.training.ranks import Followers, hold_on

if TYPE_CHECKING:
    from gogooku3.training.probe import Search

OTHERS_S = 5.0
"""How long an error is held back that may only be the echo of another rank's."""


def main(arguments: list[str] | None = None) -> int:
    """Run one training; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gogooku3.training.run")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int)
    parser.add_argument("--rank", type=int, default=0, help="given by the leading process")
    parser.add_argument("--meeting-point", type=Path, help="where the ranks find each other")
    parser.add_argument("--leash-fd", type=int, help="closed when the leading process is gone")
    parser.add_argument("--warm", action="store_true", help="load torch, then wait for the request")
    given = parser.parse_args(arguments)
    log.to_standard_output()
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    pipe = EventPipe(given.events_fd, stop, log.tell)
    if given.warm:
        warm.load()
    asked = sys.stdin.buffer.read()
    if given.warm and not asked:
        return 0  # nobody needed it
    try:
        request = RunRequest.model_validate_json(asked)
    except ValidationError as error:
        pipe.send(FailureEvent(failure_class="user", code="invalid-request", message=str(error)))
        return EXIT_FAILED
    if given.leash_fd is not None:
        hold_on(given.leash_fd)
    if given.warm and request.log is not None:
        warm.move_in(request.out_dir, request.log)
    log.logger.info("process %d begins%s", os.getpid(), ", torch loaded" if given.warm else "")
    if given.lifeline_fd is not None and request.lease_s is not None:
        Lifeline(given.lifeline_fd, request.lease_s, stop.set).start()
    if given.meeting_point is not None:
        return run(request, pipe, stop, rank=given.rank, meeting_point=given.meeting_point)
    if request.ranks == 1 or not isinstance(request.config.model, BY_GRADIENT):
        return run(request.model_copy(update={"ranks": 1}), pipe, stop)
    return lead(request, pipe, stop)


def lead(request: RunRequest, pipe: EventPipe, stop: threading.Event) -> int:
    """Run as the first of several ranks."""

    def lost(failure: FailureEvent) -> None:
        pipe.send(failure)
        os._exit(EXIT_FAILED)

    with tempfile.TemporaryDirectory(prefix="gogooku3-ranks-") as folder:
        meeting_point = Path(folder) / "meeting-point"
        followers = Followers(request, meeting_point, lost)
        try:
            return run(request, pipe, stop, meeting_point=meeting_point, followers=followers)
        finally:
            followers.end()


def run(
    request: RunRequest,
    pipe: EventPipe,
    stop: threading.Event,
    *,
    rank: int = 0,
    meeting_point: Path | None = None,
    followers: Followers | None = None,
) -> int:
    """Train as asked; every end is told through the pipe."""
    # Threads that wait by spinning take the cores from whoever they wait for: beside a few other
    # processes on two cores a step took 20 times longer. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Ranks are of one host, and nobody else is to reach them.
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    # torch takes seconds to load: the lifeline is watched and SIGTERM heard before that.
    import torch

    from gogooku3.training.device import device_of
    from gogooku3.training.failure import failure_of, with_fit
    from gogooku3.training.team import ALONE, Team
    from gogooku3.training.trainer import train

    threads = max(1, request.cpu_threads // request.ranks)
    device = device_of(request.device, rank)
    try:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(threads)
        team = ALONE
        if meeting_point is not None:
            team = Team.join(rank, request.ranks, torch.device(device), meeting_point)
        result = train(
            request.config,
            dataset=request.dataset,
            out_dir=request.out_dir,
            on_event=pipe.send,
            should_stop=stop.is_set,
            resume=request.resume,
            recorded_epoch=request.recorded_epoch,
            device=device,
            memory_mb=request.memory_mb,
            team=team,
        )
        team.leave()
        return EXIT_INTERRUPTED if result.outcome == "interrupted" else 0
    except Exception as error:
        print_traceback()
        failure = failure_of(error)
    # Whatever the failed run held is free by now.
    if followers is not None and failure.failure_class == "infra":
        failure = followers.failure(OTHERS_S) or failure
    if failure.failure_class == "oom" and rank == 0:
        search = _largest_fit(request, device, stop)
        failure = failure if search is None else with_fit(failure, search)
    pipe.send(failure)
    return EXIT_FAILED


def _largest_fit(request: RunRequest, device: str, stop: threading.Event) -> Search | None:
    from gogooku3.training.probe import largest_fit  # brings torch

    try:
        return largest_fit(request.config, request.dataset, device, request.memory_mb, stop.is_set)
    except Exception:
        # What is to be told is the failure itself: the search for advice must not hide it.
        print_traceback()
        return None


if __name__ == "__main__":
    sys.exit(main())
