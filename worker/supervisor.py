"""One attempt of a job: start its child, see it through, end it.

What it reports and the lease are the recorder's; what is particular to training or to building is
the task's.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.db import Json
from app.domain import DatasetExistsError
from app.jobs.claim import Claim
from app.jobs.outcome import Outcome
from gogooku3.config import TrainConfig
from gogooku3.errors import DatasetError, Gogooku3Error
from gogooku3.events import (
    BuildRequest,
    EndEvent,
    EpochEvent,
    Event,
    FailureEvent,
    RunRequest,
    StartEvent,
    parse_event,
)
from worker.child import Child, child_environment
from worker.classify import Asked, Ending, classify, fault, refusal
from worker.devices import Slot
from worker.log import cut, last_line, mark
from worker.memory import oom_kills
from worker.place import Workplace
from worker.recorder import Recorder
from worker.task import task_of
from worker.watchdog import Watchdog

TICK_S = 0.1
LISTEN_S = 1.0
"""A user's cancel is heard this fast: with each renewal of the lease."""
SILENT_SHARE = 0.75
"""A child stops when it has not heard of its lease for 0.8 of its length."""
logger = logging.getLogger(__name__)


@dataclass
class Supervisor:
    """Runs one claimed attempt to its end, in the calling thread."""

    claim: Claim
    slots: Sequence[Slot]
    place: Workplace
    claimed_at: float
    """`time.monotonic()` before the transaction of the claim began."""
    _last: EndEvent | FailureEvent | None = None
    _asked: Asked | None = None
    _objection: Json | None = None
    _kill_at: float | None = None
    _stuck: str = ""
    _is_bad: bool = False
    """The sweep's pruner does not let this trial go on."""

    def run(self) -> None:
        """Supervise; returns when the attempt has ended and that is recorded, or when the lease
        is lost. Whatever goes wrong here, no child is left behind."""
        self._recorder = Recorder(self.claim, self.place, self.claimed_at)
        self._started_at = time.monotonic()
        with ExitStack() as afterwards:
            afterwards.callback(self._recorder.end)
            self._work(afterwards)

    def _work(self, afterwards: ExitStack) -> None:
        try:
            self._recorder.begin()
            self._task = task_of(self.claim, self.place, self._out_dir, self._gpus)
            afterwards.callback(self._task.clean)
            ending = self._run_child()
        except Gogooku3Error as error:
            logger.info("%s: %s", self._name, error)
            ending = refusal(error)
        except Exception as error:
            # Nothing that goes wrong on our side may leave a job without an end.
            logger.exception("%s: the supervisor failed", self._name)
            self._recorder.forget()
            ending = fault(error)
        if ending is not None and not self._recorder.is_stale:
            self._recorder.settle(ending, self._completed)

    @property
    def _name(self) -> str:
        return self._recorder.name

    @property
    def _out_dir(self) -> Path:
        return self.place.artifacts.folder / self._folder

    @property
    def _folder(self) -> str:
        """Among the artifacts."""
        return f"{self.claim.job_id}/attempt-{self.claim.attempt}"

    @property
    def _log(self) -> Path:
        return self._out_dir.parent / "log.txt"

    def _run_child(self) -> Ending | None:
        """Start the child and see it through; None when the lease was lost before it began.

        Raises Gogooku3Error when there is nothing to start it with.
        """
        self._out_dir.mkdir(parents=True, exist_ok=True)
        log = self._log
        if self.claim.attempt > 1:
            # It may be on another machine that the earlier attempts have written theirs.
            self._recorder.meanwhile(
                lambda: self.place.artifacts.fetch(f"{self.claim.job_id}/{log.name}")
            )
        asked = f", request {self.claim.request_id}" if self.claim.request_id else ""
        mark(log, f"attempt {self.claim.attempt} begins{asked}")
        request, warnings = self._recorder.meanwhile(self._task.request)
        for warning in warnings:
            self._recorder.add(warning)
        killed_before = oom_kills()
        child = self._spare(request)
        if child is None:
            environment = child_environment(self.claim.resources.cpu_threads, self._gpus)
            environment |= self._task.variables
            child = Child(self._out_dir, log, environment, self._task.command)
        logger.info("%s: %s %s started", self._name, self._task.who, child.pid)
        self._watchdog = Watchdog(child.pid)
        try:
            # The lease may have run out while this process was suspended: the child idles
            # until a renewal has proved that the job is still ours.
            self._renew(child)
            child.renewed(self._recorder.renewed_at)
            if not self._recorder.is_stale:
                child.send(request)
            self._watch(child)
        finally:
            child.kill()
            exit_code = child.reap()
            self._drain(child)
            child.close()
        logger.info("%s: %s %s ended with %s", self._name, self._task.who, child.pid, exit_code)
        if self._recorder.is_stale:
            mark(log, f"attempt {self.claim.attempt} lost its lease")
            self.place.artifacts.clear(self._folder)
            return None
        if self._asked is None and self._was_silent():
            self._asked = Asked.LEASE
        if exit_code != 0 and self._asked is None:
            self._objection = self._task.objection()
        ending = classify(
            exit_code,
            last=self._last,
            asked=self._asked,
            objection=self._objection,
            timeout_s=self.claim.limits.timeout_s,
            stuck=self._stuck,
            last_line=last_line(log),
            who=self._task.who,
            oom_kills=oom_kills() - killed_before,
        )
        told = f": {ending.reason['message']}" if ending.reason else ""
        mark(log, f"attempt {self.claim.attempt} ended, {ending.outcome.value}{told}")
        self._recorder.deliver()
        # While the lease is ours, no other attempt writes there.
        self.place.artifacts.clear(self.claim.job_id)
        return ending

    def _spare(self, request: RunRequest | BuildRequest) -> Child | None:
        """A trainer that waits for its request with torch loaded, if there is one."""
        if self.place.spares is None or not isinstance(request, RunRequest):
            return None
        return self.place.spares.take(self.slots, self.claim.resources.cpu_threads, self._gpus)

    def _was_silent(self) -> bool:
        """Whether the child ended by itself because it had not heard of its lease for long."""
        is_interrupted = isinstance(self._last, EndEvent) and self._last.outcome == "interrupted"
        return is_interrupted and (
            time.monotonic() - self._recorder.renewed_at > SILENT_SHARE * self.place.lease_s
        )

    @property
    def _gpus(self) -> str | None:
        """What CUDA_VISIBLE_DEVICES names the GPUs of the slots; None = the CPU."""
        names = [slot.gpu for slot in self.slots if slot.gpu is not None]
        return ",".join(names) if names and self.claim.resources.gpus != 0 else None

    def _watch(self, child: Child) -> None:
        listen_s = min(LISTEN_S, self.place.lease_s / 4)
        heard_at = time.monotonic()
        while not child.has_ended():
            self._wait(child)
            self._collect(child)
            self._judge(self._recorder.flush_if_due())
            if time.monotonic() - heard_at >= listen_s:
                self._renew(child)
                self._object(child)
                cut(self._log)
                heard_at = time.monotonic()
            self._enforce(child)

    def _wait(self, child: Child) -> None:
        if child.is_drained:
            time.sleep(TICK_S)
        else:
            select.select([child.events_fd], [], [], TICK_S)

    def _object(self, child: Child) -> None:
        """End the child at once when its task must not be gone on with."""
        objection = self._task.objection()
        if objection is not None and self._asked is None:
            self._objection = objection
            self._ask(child, Asked.DATASET, grace_s=0.0)

    def _enforce(self, child: Child) -> None:
        """End the child when it must not go on."""
        now = time.monotonic()
        timeout_s = self.claim.limits.timeout_s
        if self._recorder.is_stale:
            child.kill()
        elif now - self._recorder.renewed_at > self.place.lease_s:
            self._ask(child, Asked.LEASE, grace_s=0.0)
        elif self.place.stopping.is_set():
            self._ask(child, Asked.SHUTDOWN)
        elif (stuck := self._watchdog.verdict()) is not None:
            self._stuck = stuck
            self._ask(child, Asked.STUCK, grace_s=0.0)
        elif timeout_s is not None and now - self._started_at > timeout_s:
            self._ask(child, Asked.TIMEOUT)
        elif self._is_bad:
            self._ask(child, Asked.PRUNE)
        if self._kill_at is not None and now >= self._kill_at:
            child.kill()

    def _ask(self, child: Child, why: Asked, *, grace_s: float | None = None) -> None:
        """Ask the child to end, the first time only, and to have done so after the grace."""
        grace_s = self._task.grace_s if grace_s is None else grace_s
        kill_at = time.monotonic() + grace_s
        if self._asked is None:
            logger.info("%s: asked to end: %s", self._name, why.value)
            self._asked, self._kill_at = why, kill_at
            child.terminate()
        elif self._kill_at is None or kill_at < self._kill_at:
            self._kill_at = kill_at

    def _collect(self, child: Child) -> int:
        """Take what the child has told; answers how many lines that were."""
        lines = child.read_lines()
        for line in lines:
            self._watchdog.heard()
            try:
                event = parse_event(line)
            except ValidationError:
                logger.warning("%s: not an event: %r", self._name, line[:200])
                message = "the trainer reported something unknown; see its log"
                self._recorder.warn("unknown-event", message)
                continue
            self._take(child, event)
        return len(lines)

    def _take(self, child: Child, event: Event) -> None:
        if isinstance(event, EndEvent | FailureEvent):
            self._last = event
            return
        taken = self._task.take(event)
        if isinstance(event, StartEvent | EpochEvent):
            # Before the epoch counts: it must not have been trained on something else.
            self._object(child)
        if taken is None or (self._objection and not isinstance(event, StartEvent)):
            return
        self._recorder.add(taken)

    def _drain(self, child: Child) -> None:
        """Take what the ended child had written; nothing can follow it."""
        while not child.is_drained and self._collect(child):
            pass

    def _renew(self, child: Child) -> None:
        """Hold the lease, tell the child, hear the user."""
        orders = self._recorder.hold()
        if orders is None:
            return
        child.renewed(self._recorder.renewed_at)
        if orders.cancel:
            self._ask(child, Asked.CANCEL, grace_s=0.0 if orders.force else None)
        elif orders.pause:
            self._ask(child, Asked.PAUSE)

    def _judge(self, recorded: Sequence[Event]) -> None:
        """Ask the pruner of the trial's sweep whether the run may go on. After the last epoch
        there is nothing left to save."""
        run, config = self.claim.trial, self.claim.config
        if run is None or self._asked is not None or not isinstance(config, TrainConfig):
            return
        epochs = [event for event in recorded if isinstance(event, EpochEvent)]
        if epochs and max(event.epoch for event in epochs) < config.max_epochs:
            self._is_bad = self.place.sweeps.should_prune(run, epochs, self._folder)

    def _completed(self, session: Session, ending: Ending) -> Ending:
        """The ending, a success only if what it brings about could be."""
        if ending.outcome is not Outcome.SUCCEEDED:
            return ending
        try:
            self._task.complete(session)
        except (DatasetError, DatasetExistsError) as error:
            return refusal(error)
        return ending
