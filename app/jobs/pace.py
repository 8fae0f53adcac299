"""How long jobs take, measured on those that have succeeded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Attempt, Job
from app.domain import JobKind

SAMPLE = 300
"""The newest runs that are looked at."""
_Key = tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """Seconds per epoch of a training job, seconds of a build, by what they resemble."""

    by_likeness: Mapping[_Key, float]

    def left_s(self, job: Job) -> float | None:
        """Seconds that the job still takes; None where nothing like it has been measured."""
        model = job.config.get("model") or {}
        for key in _keys(job.kind, job.dataset, model.get("kind"), model.get("hidden_size")):
            if key in self.by_likeness:
                return self.by_likeness[key] * _epochs_left(job)
        return None


def measure(session: Session) -> Pace:
    """The pace of the newest jobs that succeeded at their first attempt."""
    rows = session.execute(
        select(
            Job.kind,
            Job.dataset,
            Job.config["model"]["kind"].as_string(),
            Job.config["model"]["hidden_size"].as_integer(),
            Attempt.last_epoch,
            func.extract("epoch", Attempt.ended_at - Attempt.started_at),
        )
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.outcome == "succeeded", Attempt.number == 1)
        .order_by(Attempt.ended_at.desc())
        .limit(SAMPLE)
    )
    found: defaultdict[_Key, list[float]] = defaultdict(list)
    for kind, dataset, model, size, epochs, seconds in rows:
        for key in _keys(kind, dataset, model, size):
            found[key].append(float(seconds) / max(1, epochs or 1))
    return Pace({key: median(values) for key, values in found.items()})


def _keys(kind: str, dataset: str, model: str | None, size: int | None) -> list[_Key]:
    """What a job resembles, the nearest first."""
    if kind == JobKind.DATASET:
        return [(kind, dataset), (kind,)]
    return [(kind, dataset, str(model), str(size)), (kind, dataset, str(model)), (kind, dataset)]


def _epochs_left(job: Job) -> int:
    if job.kind == JobKind.DATASET:
        return 1
    done = int((job.progress or {}).get("epochs_done") or 0)
    return max(1, int(job.config["max_epochs"]) - done)
