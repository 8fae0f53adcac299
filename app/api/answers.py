"""What the API answers with. Additive changes only: clients rely on every name here."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.domain import JobState


class Answer(BaseModel):
    """Read from the rows of the tables; undefined numbers are null."""

    model_config = ConfigDict(
        from_attributes=True, ser_json_inf_nan="null", use_attribute_docstrings=True
    )


class Progress(Answer):
    """Where the run is."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="null")

    epoch: int | None = None
    max_epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    stage: str | None = None
    """Of a build: what was done last."""
    share: float | None = None
    """Of a build: the part of the whole that is done."""
    eta_s: float | None = None


class Best(Answer):
    """The epoch that the early-stopping metric likes best so far."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="null")

    epoch: int | None = None
    metrics: dict[str, float | None] = {}


class JobSummary(Answer):
    """A job without its configuration, as lists show it."""

    id: str
    kind: str
    name: str
    state: JobState
    dataset: str
    """What it trains on, or builds."""
    dataset_fingerprint: str | None
    """Of the dataset when the job was submitted; of a build: of what it built, null until then."""
    labels: dict[str, str]
    priority: int
    note: str | None
    attempt: int
    """Runs started so far; also the fencing token of the current one."""
    progress: Progress | None
    metrics: dict[str, float | None] | None
    """Of the latest complete epoch."""
    best: Best | None
    reason: dict[str, Any] | None
    """Why it ended other than well: class, code, message, next_action."""
    cancel_requested_at: datetime | None
    pause_requested_at: datetime | None
    """Asked to be paused; its trainer is writing its state."""
    retries: int
    """How often it was tried again on request, after it had ended."""
    created_at: datetime
    queued_at: datetime
    """Since when it waits, or last waited."""
    started_at: datetime | None
    """Start of the first attempt."""
    finished_at: datetime | None
    updated_at: datetime
    sweep_id: str | None
    parent_id: str | None
    """The job that this one is a clone of."""


class JobAnswer(JobSummary):
    """A job with its effective configuration and where each value came from."""

    config: dict[str, Any]
    """The effective configuration: every default filled in."""
    config_sources: dict[str, str]
    """By dotted path: `request`, `default` or `derived`."""
    resources: dict[str, Any]
    limits: dict[str, Any]
    provenance: dict[str, Any] | None
    """What the trainer found out about itself: device, threads, versions, data."""


class JobPage(Answer):
    """One page of a list; ask again with `page_token` while there is one."""

    items: list[JobSummary]
    next_page_token: str | None


class CheckedJob(Answer):
    """What `validate_only` answers: the job as it would be, not stored."""

    valid: bool = True
    name: str | None
    dataset: str
    dataset_fingerprint: str | None
    config: dict[str, Any]
    config_sources: dict[str, str]
    resources: dict[str, Any]
    limits: dict[str, Any]


class EventAnswer(Answer):
    """One line of a job's record; the record only grows."""

    seq: int
    """1, 2, 3, ... within the job, without gaps."""
    type: str
    """`state`, `epoch`, `checkpoint`, `progress`, `dataset` or `warning`."""
    at: datetime
    attempt: int
    payload: dict[str, Any]


class EventPage(Answer):
    """Events after a sequence number, oldest first."""

    items: list[EventAnswer]
    next_after: int
    """`after` of the next call."""
    has_more: bool


class MetricPoint(Answer):
    """A metric at the end of an epoch."""

    step: int
    """The epoch, from 1."""
    value: float | None
    """null = undefined, as the correlation of a constant is."""
    at: datetime
    attempt: int


class MetricSeries(Answer):
    """One metric over the epochs."""

    name: str
    points: list[MetricPoint]
    total: int
    """Points stored in the range asked for."""
    sampled: bool
    """Whether points were left out; first, last, lowest and highest of each bucket never are."""


class MetricsAnswer(Answer):
    """Series by name, in order of name."""

    job_id: str
    series: list[MetricSeries]
    total: int
    sampled: bool


class JobsMetrics(Answer):
    """The series of several jobs, in the order that was asked for."""

    jobs: list[MetricsAnswer]
    missing: list[str]
    """Ids that no job has (any more)."""


class OutputsAnswer(Answer):
    """Which of a job's outputs there are by now; each has an address of its own name."""

    job_id: str
    daily: bool
    predictions: bool
    importance: bool


class DailyValues(Answer):
    """One daily series: a value for each of `dates`."""

    name: str
    """Such as `rank_ic@5`."""
    values: list[float | None]
    """null = undefined on that day."""


class DailyAnswer(Answer):
    """The daily series behind the metrics of the best epoch so far."""

    job_id: str
    split: str
    epoch: int
    dates: list[date]
    series: list[DailyValues]


class FeatureWeight(Answer):
    """How much of the model's attention, weights or gain is on a feature."""

    name: str
    weight: float
    """Of the epoch in question; the weights of all features add up to 1."""


class ImportanceAnswer(Answer):
    """The weights of the features, largest first."""

    job_id: str
    epoch: int
    epochs: list[int]
    """The epochs that can be asked for."""
    features: list[FeatureWeight]
    attention: list[float] | None
    """Mean attention by age, 0 days ago first, of models that attend to their look-back."""


class AttemptAnswer(Answer):
    """One run of a job: who held the lease, when, and how it ended."""

    number: int
    worker_id: str
    slot: int
    """The first of its slots."""
    slots: list[int]
    """All of them: one, or one for each of its GPUs."""
    pid: int | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: dict[str, Any] | None
    exit_code: int | None
    stale_writes: int
    """Writes rejected because another attempt held the lease by then."""
    last_epoch: int | None


class AttemptPage(Answer):
    """All attempts, first to last."""

    items: list[AttemptAnswer]


class CheckpointAnswer(Answer):
    """A trained model as it was at the end of an epoch."""

    id: str
    job_id: str
    attempt: int
    epoch: int
    metrics: dict[str, float | None]
    size: int
    """Bytes."""
    sha256: str
    is_best: bool
    created_at: datetime


class CheckpointPage(Answer):
    """A job's checkpoints, newest first."""

    items: list[CheckpointAnswer]
