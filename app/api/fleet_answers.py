"""What the API answers about the queue and the workers. Additive changes only: clients rely on
every name here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.api.answers import Answer
from app.domain import JobState


class WaitReason(Answer):
    """Why a job does not run yet."""

    code: str
    """`starting`, `slots-busy`, `back-off`, `key-limit`, `needs-gpu`, `gathering`, `no-worker`,
    `paused`."""
    message: str
    until: datetime | None
    """When the reason ends, where that is known."""


class QueueItem(Answer):
    """A job that waits."""

    position: int | None
    """From 1, in the order in which jobs are taken; null = paused."""
    job_id: str
    name: str
    kind: str
    state: JobState
    dataset: str
    priority: int
    gpus: int
    """That it takes where a worker has any."""
    queued_at: datetime
    attempt: int
    """Runs started so far."""
    sweep_id: str | None
    behind: str | None
    """The job right before it."""
    reason: WaitReason
    starts_in_s: float | None
    """Estimated from measured durations; null = it cannot be told."""
    expected_s: float | None
    """Estimated seconds that it will run."""


class QueueAnswer(Answer):
    """The first jobs of the queue in order, then the paused ones."""

    items: list[QueueItem]
    queued: int
    """Jobs in the whole queue."""
    paused: int
    running: int


class SlotAnswer(Answer):
    """Room for a job, or for one of a job's GPUs."""

    number: int
    gpu: str | None
    """As CUDA_VISIBLE_DEVICES names it; null = none."""
    job_id: str | None
    """What runs there."""
    attempt: int | None


class UtilisationAnswer(Answer):
    """Means over the jobs that a worker runs, of what each told with its last epoch: a share of
    the time. Null = none has told yet."""

    cpu: float | None
    """Of the trainers' threads."""
    gpu: float | None


class WorkerAnswer(Answer):
    """A worker process."""

    id: str
    host: str
    pid: int
    slots: int
    device: str
    """`cpu` or `cuda`."""
    started_at: datetime
    heartbeat_at: datetime
    is_alive: bool
    """Whether its heartbeat is recent."""
    current: list[dict[str, Any]]
    """What runs in its slots: job_id, attempt, slot (the first), slots."""
    slot_list: list[SlotAnswer]
    """Every slot of a worker that is alive."""
    utilisation: UtilisationAnswer
    stopped_at: datetime | None


class WorkerPage(Answer):
    """Workers, most recent heartbeat first."""

    items: list[WorkerAnswer]
