"""The builder: `python -m gogooku3.data.task --events-fd N [--lifeline-fd M]`.

Builds one dataset. A BuildRequest comes as JSON on standard input; events go as JSON lines to the
inherited pipe N; lease renewals come through the pipe M. SIGTERM ends it at once: there is nothing
worth keeping, and what it has begun to write is removed. It belongs to Polars' side and never
imports torch.
Exit codes: 0 = built, 3 = interrupted, 4 = failed (after a failure event), 75 = the lease was lost.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gogooku3.config import FileSource, JQuantsSource, SynthSource
from gogooku3.data.header import DatasetHeader
from gogooku3.errors import Gogooku3Error
from gogooku3.events import (
    BuildRequest,
    DatasetEvent,
    EndEvent,
    Event,
    FailureEvent,
    StageEvent,
    StartEvent,
)
from gogooku3.lifeline import Lifeline
from gogooku3.pipe import EXIT_FAILED, EXIT_INTERRUPTED, EventPipe, print_traceback

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.config.source import SourceSpec

TELL_S = 1.0
"""Stages that follow each other faster than this are not all told."""
SIMULATED_SHARE = 0.2
"""Of a synthetic dataset's build that goes into the simulation."""
FETCHED_SHARE = 0.7
"""Of a build that fetches its source."""
logger = logging.getLogger(__name__)


class Interrupted(BaseException):
    """Somebody asked the process to end: nothing below may take it for a fault."""


_asked_to_end = threading.Event()
"""Python drops an exception that a signal raises inside a destructor or a weak reference's
callback, of which there are many while modules are loaded: the next stage raises it again."""


def main(arguments: list[str] | None = None) -> int:
    """Build one dataset; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gogooku3.data.task")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int)
    given = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.captureWarnings(True)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    pipe = EventPipe(given.events_fd, threading.Event(), _tell_log)
    try:
        request = BuildRequest.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        pipe.send(FailureEvent(failure_class="user", code="invalid-request", message=str(error)))
        return EXIT_FAILED
    except Interrupted:
        return EXIT_INTERRUPTED
    if given.lifeline_fd is not None and request.lease_s is not None:
        Lifeline(given.lifeline_fd, request.lease_s, _interrupt_self).start()
    return run(request, pipe)


def run(request: BuildRequest, pipe: EventPipe) -> int:
    """Build as asked; every end is told through the pipe."""
    try:
        pipe.send(StartEvent(provenance=_provenance()))
        header = _build(request, Stages(pipe))
        pipe.send(
            DatasetEvent(
                fingerprint=header.fingerprint,
                rows=header.rows,
                stocks=header.stocks,
                days=len(header.calendar),
                features=len(header.features),
                size_bytes=header.size_bytes,
            )
        )
        pipe.send(EndEvent(outcome="completed"))
    except Interrupted:
        pipe.send(EndEvent(outcome="interrupted"))
        return EXIT_INTERRUPTED
    except Exception as error:
        print_traceback()
        pipe.send(failure_of(error, request))
        return EXIT_FAILED
    return 0


class Stages:
    """Tells where a build is: a stage and the share of the whole that is done, not too often.

    `begin` maps the shares that follow into a part of the whole.
    """

    def __init__(self, pipe: EventPipe) -> None:
        self._pipe = pipe
        self._began_at = time.monotonic()
        self._told_at = -TELL_S
        self._from = 0.0

    def begin(self, share: float) -> None:
        """What is told from now on begins at this share of the whole."""
        self._from = share

    def __call__(self, stage: str, share: float) -> None:
        """Raises Interrupted when the process was asked to end."""
        if _asked_to_end.is_set():
            raise Interrupted
        now = time.monotonic()
        done = min(max(self._from + (1.0 - self._from) * share, 0.0), 1.0)
        if now - self._told_at < TELL_S and done < 1.0:
            return
        self._told_at = now
        eta_s = (now - self._began_at) * (1.0 - done) / done if done > 0.0 else None
        self._pipe.send(StageEvent(stage=stage, share=done, eta_s=eta_s))


def _build(request: BuildRequest, tell: Stages) -> DatasetHeader:
    tell("starts", 0.0)
    # Polars takes a while to load: the lifeline is watched and SIGTERM heard before that.
    from gogooku3.data.build import build
    from gogooku3.data.synth import synthesise

    config = request.config
    table: pl.DataFrame | Path
    spec: SourceSpec | None = None
    planted: Mapping[str, Any] | None = None
    match config.source:
        case SynthSource(stocks=stocks, days=days, seed=seed):
            market = synthesise(stocks=stocks, days=days, seed=seed, horizons=config.horizons)
            table, planted = market.table, market.planted
            tell("simulated", SIMULATED_SHARE)
            tell.begin(SIMULATED_SHARE)
        case FileSource():
            assert request.source is not None
            table, spec = request.source, config.source.spec
        case JQuantsSource():
            assert request.source is not None
            table = _fetch(config.source, request.source, request.out.parent, tell)
            tell.begin(FETCHED_SHARE)
    return build(
        table,
        name=request.name,
        out=request.out,
        spec=spec,
        features=config.features,
        horizons=config.horizons,
        top=config.top,
        normalisation=config.normalisation,
        storage=config.storage,
        planted=planted,
        progress=tell,
    )


def _fetch(source: JQuantsSource, store: Path, folder: Path, tell: Stages) -> Path:
    """The bars that J-Quants has, in a folder that goes with the build."""
    from gogooku3.data.jquants import BARS, fetch

    return fetch(
        store,
        source.start,
        source.end or date.today(),
        out=folder / BARS,
        requests_per_minute=source.requests_per_minute,
        stocks_only=source.stocks_only,
        progress=lambda stage, share: tell(stage, FETCHED_SHARE * share),
    )


def failure_of(error: Exception, request: BuildRequest) -> FailureEvent:
    """The event that tells why a dataset cannot be built."""
    if isinstance(error, Gogooku3Error):
        message = str(error)
        if request.source is not None:
            # Where the server keeps its files is not the client's business.
            source = request.config.source
            named = source.path if isinstance(source, FileSource) else source.kind
            message = message.replace(str(request.source), named)
        return FailureEvent(
            failure_class=error.failure_class,
            code=error.code,
            message=message,
            next_action="correct the source, or name another one",
        )
    if isinstance(error, MemoryError):
        return FailureEvent(
            failure_class="oom",
            code="oom",
            message=str(error) or "the machine has not enough memory for this dataset",
            next_action="build a smaller dataset (source, features), or on a larger machine",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FailureEvent(
            failure_class="infra",
            code="disk-full",
            message=f"no room left on the disk of the datasets: {error.strerror}",
            next_action="delete datasets that nobody needs, then submit the job again",
        )
    first = (str(error).splitlines() or [""])[0]
    return FailureEvent(
        failure_class="infra",
        code="internal",
        message=f"{type(error).__name__}: {first}",
        next_action="see the job's log for the traceback",
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked_to_end.set()
    # Once: whoever asks again must not disturb the removal of what was begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Interrupted


def _interrupt_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _provenance() -> dict[str, object]:
    packages = ("gogooku3", "polars", "numpy", "pyarrow")
    return {
        "pid": os.getpid(),
        "python": platform.python_version(),
        "threads": int(os.environ.get("POLARS_MAX_THREADS", os.cpu_count() or 1)),
        "versions": {name: version(name) for name in packages},
    }


def _tell_log(event: Event) -> None:
    match event:
        case StageEvent():
            logger.info("%3.0f %%  %s", 100 * event.share, event.stage)
        case DatasetEvent():
            logger.info("%s rows, fingerprint %s", event.rows, event.fingerprint)
        case FailureEvent():
            logger.error("%s (%s): %s", event.code, event.failure_class, event.message)
        case EndEvent():
            logger.info("%s", event.outcome)
        case _:
            return


if __name__ == "__main__":
    sys.exit(main())
