"""What the server answers, as a client sees it. Fields that a newer server adds are kept."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

FINISHED = frozenset({"succeeded", "failed", "cancelled", "pruned"})


class Resource(BaseModel):
    """A frozen answer; unknown fields stay readable as attributes."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Job(Resource):
    """A job: `kind` is `train` or `dataset`."""

    id: str
    state: str
    dataset: str
    """What it trains on, or builds."""
    dataset_fingerprint: str | None = None
    name: str | None = None
    kind: str = "train"
    labels: dict[str, str] = {}
    priority: int = 0
    note: str | None = None
    attempt: int = 0
    progress: dict[str, Any] | None = None
    metrics: dict[str, float | None] | None = None
    """Of the latest complete epoch."""
    best: dict[str, Any] | None = None
    """`epoch` and `metrics` of the best epoch so far."""
    reason: dict[str, Any] | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    pause_requested_at: datetime | None = None
    parent_id: str | None = None
    """The job that this one is a clone of."""
    config: dict[str, Any] | None = None
    """The effective configuration; lists leave it out."""
    config_sources: dict[str, str] | None = None
    provenance: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the job will not run any more."""
        return self.state in FINISHED


class Event(Resource):
    """One line of a job's record."""

    seq: int
    type: str
    at: datetime
    attempt: int
    payload: dict[str, Any]


class MetricPoint(Resource):
    """A metric at the end of an epoch."""

    step: int
    value: float | None
    at: datetime
    attempt: int


class MetricSeries(Resource):
    """One metric over the epochs."""

    name: str
    points: list[MetricPoint]
    total: int
    sampled: bool


class Attempt(Resource):
    """One run of a job."""

    number: int
    worker_id: str | None = None
    slots: list[int] = []
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: dict[str, Any] | None = None
    stale_writes: int = 0


class Checkpoint(Resource):
    """A trained model as it was at the end of an epoch."""

    id: str
    job_id: str
    epoch: int
    size: int
    sha256: str
    is_best: bool
    metrics: dict[str, float | None]
    created_at: datetime

    @property
    def filename(self) -> str:
        """A file name that says what it is."""
        return f"{self.job_id}-epoch-{self.epoch:04d}.gk3"


class Daily(Resource):
    """The daily series behind the metrics of a job's best epoch so far."""

    job_id: str
    split: str
    epoch: int
    dates: list[date]
    series: dict[str, list[float | None]]
    """By name, such as `rank_ic@5`: a value for each of `dates`."""


class Importance(Resource):
    """The weights of a job's features in one epoch."""

    job_id: str
    epoch: int
    epochs: list[int]
    weights: dict[str, float]
    """By feature, largest first; they add up to 1."""
    attention: list[float] | None = None
    """Mean attention by age, 0 days ago first, of models that attend to their look-back."""


class LogChunk(Resource):
    """Bytes `start` to `end` of a job's log, which has `size` bytes by now."""

    text: str
    start: int
    end: int
    size: int


class Dataset(Resource):
    """A dataset under the server's home."""

    id: str
    rows: int
    stocks: int
    days: int
    first_day: date | None = None
    last_day: date | None = None
    horizons: list[int] = []
    fingerprint: str
    size_bytes: int
    job_id: str | None = None
    """The job that built it; lists leave it out."""
    features: list[dict[str, Any]] = []
    """name, role, formula, lookback_days, missing_share; lists leave them out."""


class Worker(Resource):
    """A worker process."""

    id: str
    host: str
    pid: int
    slots: int
    device: str | None = None
    heartbeat_at: datetime
    is_alive: bool
    current: Any = None
    slot_list: list[dict[str, Any]] = []
    """number, gpu, job_id and attempt of each slot."""
    utilisation: dict[str, float | None] = {}
    """cpu and gpu: shares of the time, means over the jobs that it runs."""


class QueueItem(Resource):
    """A job that waits."""

    position: int | None
    """From 1; None = paused."""
    job_id: str
    name: str
    state: str
    priority: int
    behind: str | None
    """The job right before it."""
    reason: dict[str, Any]
    """`code`, `message`, `until`."""
    starts_in_s: float | None
    expected_s: float | None


class Queue(Resource):
    """The first jobs of the queue in order, then the paused ones."""

    items: list[QueueItem]
    queued: int
    paused: int
    running: int


class Trial(Resource):
    """A trial of a sweep; its runs are ordinary jobs."""

    number: int
    state: str
    """Its job's: queued, running, paused, succeeded, failed, cancelled or pruned."""
    params: dict[str, Any]
    """By path of the configuration."""
    value: float | None = None
    """The first objective; null of a trial that is not complete."""
    values: list[float] | None = None
    seed_values: list[float] | None = None
    violations: dict[str, float | None] = {}
    is_feasible: bool | None = None
    intermediate_values: dict[int, float | None] = {}
    """The objective's metric by epoch."""
    job_id: str
    job_ids: list[str] = []
    epochs: int = 0
    reason: dict[str, Any] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class BestTrial(Resource):
    """The best trial of a sweep, and how much of it may be luck."""

    number: int
    job_id: str
    value: float
    params: dict[str, Any]
    metrics: dict[str, float | None]
    epoch: int | None = None
    checkpoint_id: str | None = None
    selection: dict[str, Any] | None = None


class Sweep(Resource):
    """A sweep."""

    id: str
    state: str
    """running, paused, succeeded, failed or cancelled."""
    name: str
    dataset: str
    labels: dict[str, str] = {}
    objectives: list[dict[str, Any]] = []
    n_trials: int
    max_parallel: int
    counts: dict[str, int] = {}
    """Trials by state; `waiting` are those that do not exist yet."""
    best: Trial | None = None
    estimated_finish_at: datetime | None = None
    reason: dict[str, Any] | None = None
    cancel_requested_at: datetime | None = None
    """Set of one that is running: it comes to its end, and takes no other order."""
    created_at: datetime
    finished_at: datetime | None = None
    config: dict[str, Any] | None = None
    """The effective specification; lists leave it out."""
    warnings: list[str] = []

    @property
    def is_finished(self) -> bool:
        """Whether no trial runs or is to come."""
        return self.state in FINISHED
