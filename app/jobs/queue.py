"""The queue as it stands: what waits, why, behind whom, and when it is likely to begin."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import ApiKey, Job, Worker
from app.domain import JobState
from app.jobs.pace import Pace, measure
from app.jobs.workers import is_alive


@dataclass(frozen=True)
class Wait:
    """Why a job does not run yet. `code` is stable; `message` is for people."""

    code: str
    message: str
    until: datetime | None = None


@dataclass(frozen=True)
class Waiting:
    """A job in the queue."""

    job: Job
    position: int | None
    """From 1, in the order in which jobs are taken; None = paused."""
    behind: str | None
    """The job before it."""
    reason: Wait
    starts_in_s: float | None
    """Estimated from measured durations; None = it cannot be told."""
    expected_s: float | None
    """Estimated seconds that it will run."""


@dataclass(frozen=True)
class Queue:
    """The first jobs of the queue, then the paused ones."""

    items: list[Waiting]
    queued: int
    paused: int
    running: int


def look(session: Session, limit: int = 100) -> Queue:
    """The first `limit` queued jobs, and as many paused ones."""
    now = session.scalar(select(func.now())) or datetime.now(UTC)
    counts = _counts(session)
    order = (Job.priority.desc(), Job.place, Job.id)
    queued = session.scalars(
        select(Job).where(Job.state == JobState.QUEUED).order_by(*order).limit(limit)
    ).all()
    paused = session.scalars(
        select(Job).where(Job.state == JobState.PAUSED).order_by(*order).limit(limit)
    ).all()
    workers = session.scalars(select(Worker).where(is_alive(), Worker.slots > 0)).all()
    forecast = _Forecast(_running(session, workers), workers, measure(session), now)
    keys = _Keys.read(session, queued)
    items = []
    behind: str | None = None
    for position, job in enumerate(queued, start=1):
        reason = _reason(job, workers, keys, forecast, now)
        starts_in_s, expected_s = forecast.add(job, is_held=reason.code == "key-limit")
        items.append(Waiting(job, position, behind, reason, starts_in_s, expected_s))
        behind = job.id
    aside = Wait("paused", "It was paused; resume it to let it go on.")
    items += [Waiting(job, None, None, aside, None, None) for job in paused]
    return Queue(items, counts["queued"], counts["paused"], counts["running"])


def _counts(session: Session) -> Counter[str]:
    states = (JobState.QUEUED, JobState.PAUSED, JobState.RUNNING)
    rows = session.execute(
        select(Job.state, func.count()).where(Job.state.in_(states)).group_by(Job.state)
    )
    return Counter({state.value: count for state, count in rows})


def _running(session: Session, workers: Sequence[Worker]) -> dict[str, Job]:
    ids = [run["job_id"] for worker in workers for run in worker.current]
    jobs = session.scalars(select(Job).where(Job.id.in_(ids), Job.state == JobState.RUNNING))
    return {job.id: job for job in jobs}


@dataclass(frozen=True)
class _Keys:
    """How many jobs the keys of some jobs run, and how many they may."""

    limits: dict[str, int | None]
    running: dict[str, int]

    @classmethod
    def read(cls, session: Session, jobs: Sequence[Job]) -> _Keys:
        ids = {job.api_key_id for job in jobs if job.api_key_id is not None}
        limits = session.execute(select(ApiKey.id, ApiKey.max_running).where(ApiKey.id.in_(ids)))
        running = session.execute(
            select(Job.api_key_id, func.count())
            .where(Job.api_key_id.in_(ids), Job.state == JobState.RUNNING)
            .group_by(Job.api_key_id)
        )
        limits_of = {row.id: row.max_running for row in limits}
        counts = {key: count for key, count in running if key is not None}
        return cls(limits_of, counts)

    def limit_reached(self, key_id: str | None) -> int | None:
        """The limit of a key that runs as many jobs as it may."""
        limit = self.limits.get(key_id) if key_id is not None else None
        is_reached = limit is not None and self.running.get(key_id or "", 0) >= limit
        return limit if is_reached else None


def _reason(
    job: Job, workers: Sequence[Worker], keys: _Keys, forecast: _Forecast, now: datetime
) -> Wait:
    gpus = job.gpus
    most = max((len(worker.gpus) for worker in workers), default=0)
    limit = keys.limit_reached(job.api_key_id)
    if job.not_before is not None and job.not_before > now:
        code = (job.reason or {}).get("code", "failure")
        message = f"Attempt {job.attempt} ended ({code}); the next one is held back for a while."
        return Wait("back-off", message, job.not_before)
    if not workers:
        return Wait("no-worker", "No worker with a slot is alive.")
    if limit is not None:
        return Wait("key-limit", f"Its API key runs {limit} jobs, as many as it may.")
    if most and gpus > most:
        message = f"It asks for {gpus} GPUs and no living worker has more than {most}."
        return Wait("needs-gpu", message)
    if forecast.has_room_for(gpus):
        return Wait("starting", "A slot is free: a worker is about to take it.")
    if job.gathered_by is not None and job.gathered_until is not None:
        message = f"Worker {job.gathered_by} keeps its free GPUs until {gpus} have come together."
        if job.gathered_until > now:
            return Wait("gathering", message)
    kind = "slots with a GPU" if gpus and most else "slots"
    return Wait("slots-busy", f"All {kind} that it could take are busy or go to jobs before it.")


class _Forecast:
    """Plays the queue forward: each job takes the slots that are free first."""

    def __init__(
        self, running: dict[str, Job], workers: Sequence[Worker], pace: Pace, now: datetime
    ) -> None:
        self._pace = pace
        self._now = now
        self._workers = [_Room(worker, self._busy(worker, running)) for worker in workers]
        self._has_gpus = any(worker.gpus for worker in workers)

    def has_room_for(self, gpus: int) -> bool:
        """Whether a worker has the slots free at this moment."""
        return self._soonest(gpus)[0] <= 0.0

    def add(self, job: Job, *, is_held: bool) -> tuple[float | None, float | None]:
        """Seconds until the job starts, and seconds that it runs."""
        expected_s = self._pace.left_s(job)
        if is_held:
            return None, expected_s
        gpus = job.gpus
        start_s, room = self._soonest(gpus)
        if job.not_before is not None:
            start_s = max(start_s, (job.not_before - self._now).total_seconds())
        if room is None or math.isinf(start_s):
            return None, expected_s
        room.occupy(gpus, start_s + (math.inf if expected_s is None else expected_s))
        return round(start_s, 1), None if expected_s is None else round(expected_s, 1)

    def _soonest(self, gpus: int) -> tuple[float, _Room | None]:
        usable = [room for room in self._workers if room.gpus or not (gpus and self._has_gpus)]
        soonest: tuple[float, _Room | None] = (math.inf, None)
        for room in usable:
            free_s = room.free_s(gpus)
            if free_s < soonest[0]:
                soonest = (free_s, room)
        return soonest

    def _busy(self, worker: Worker, running: dict[str, Job]) -> dict[int, float]:
        """Seconds until each busy slot of the worker is free."""
        left: dict[int, float] = {}
        for run in worker.current:
            job = running.get(run["job_id"])
            if job is not None:
                left |= dict.fromkeys(run["slots"], self._left_s(job))
        return left

    def _left_s(self, job: Job) -> float:
        eta_s = (job.progress or {}).get("eta_s")
        if eta_s is not None:
            age_s = (self._now - job.updated_at).total_seconds()
            return max(1.0, float(eta_s) - age_s)
        expected_s = self._pace.left_s(job)
        return math.inf if expected_s is None else expected_s


class _Room:
    """A worker's slots, each with the time at which it is free."""

    def __init__(self, worker: Worker, busy: dict[int, float]) -> None:
        self.gpus = len(worker.gpus)
        free = {slot: busy.get(slot, 0.0) for slot in range(worker.slots)}
        self._gpu = [free[slot] for slot in range(self.gpus)]
        self._cpu = [free[slot] for slot in range(self.gpus, worker.slots)]
        heapq.heapify(self._gpu)
        heapq.heapify(self._cpu)

    def free_s(self, gpus: int) -> float:
        """Seconds until there is room for a job."""
        slots, needed = self._for(gpus)
        return heapq.nsmallest(needed, slots)[-1] if len(slots) >= needed else math.inf

    def occupy(self, gpus: int, until_s: float) -> None:
        """Give the slots that are free first to a job."""
        slots, needed = self._for(gpus)
        for _ in range(needed):
            heapq.heappop(slots)
        for _ in range(needed):
            heapq.heappush(slots, until_s)

    def _for(self, gpus: int) -> tuple[list[float], int]:
        """As `Offer.slots_for` chooses."""
        if gpus == 0 or self.gpus == 0:
            return (self._cpu or self._gpu), 1
        return self._gpu, gpus
