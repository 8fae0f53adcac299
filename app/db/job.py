"""The `jobs` table: one row a job, the truth about it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Enum,
    ForeignKey,
    Index,
    Numeric,
    Sequence,
    func,
    literal_column,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json
from app.domain import JobState

PLACES = Sequence("job_places", metadata=Base.metadata)
"""A new job's place is behind all others."""


class Job(Base):
    """A job. Only the holder of the row's lock writes it; `attempt` fences a running attempt."""

    __tablename__ = "jobs"
    __table_args__ = (
        # A cancel that is asked for while an attempt runs ends the job with that attempt.
        CheckConstraint(
            "state <> 'queued' OR cancel_requested_at IS NULL", name="queued_is_wanted"
        ),
        CheckConstraint(
            "state = 'running' OR pause_requested_at IS NULL", name="running_is_paused"
        ),
        CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"
        ),
        CheckConstraint("kind IN ('train', 'dataset')", name="kind"),
        CheckConstraint(
            "kind <> 'train' OR dataset_fingerprint IS NOT NULL", name="trains_on_known_dataset"
        ),
        # Two builds of one dataset would overwrite each other.
        Index(
            "uq_jobs_build",
            "dataset",
            unique=True,
            postgresql_where=text("kind = 'dataset' AND state IN ('queued', 'running', 'paused')"),
        ),
        Index("ix_jobs_dataset_created_at", "dataset", "created_at"),
        Index(
            "ix_jobs_queue",
            text("priority DESC"),
            "place",
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        # Lists: each order, and the newest of a state.
        Index("ix_jobs_created_at_id", "created_at", "id"),
        Index("ix_jobs_priority_id", "priority", "id"),
        Index("ix_jobs_name_id", "name", "id"),
        Index("ix_jobs_state_created_at_id", "state", "created_at", "id"),
        Index(
            "ix_jobs_labels",
            "labels",
            postgresql_using="gin",
            postgresql_ops={"labels": "jsonb_path_ops"},
        ),
        CheckConstraint(
            "(sweep_id IS NULL) = (trial_number IS NULL) "
            "AND (sweep_id IS NULL) = (seed_index IS NULL)",
            name="trial_is_whole",
        ),
        # However often a sweep is moved on, a trial's run is there once.
        Index(
            "uq_jobs_trial",
            "sweep_id",
            "trial_number",
            "seed_index",
            unique=True,
            postgresql_where=text("sweep_id IS NOT NULL"),
        ),
        Index(
            "ix_jobs_sweep_live",
            "sweep_id",
            postgresql_where=text(
                "sweep_id IS NOT NULL AND state IN ('queued', 'running', 'paused')"
            ),
        ),
        Index(
            "ix_jobs_api_key_id_state",
            "api_key_id",
            "state",
            postgresql_where=text("api_key_id IS NOT NULL"),
        ),
        # A running job's row is written every second (lease, progress) and none of that is
        # indexed: with room left in its page, such an update touches no index.
        # The configurations go out of line: lists and those updates do not carry them along.
        {"postgresql_with": {"fillfactor": 70, "toast_tuple_target": 512}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    state: Mapped[JobState] = mapped_column(
        Enum(
            JobState,
            name="state",
            native_enum=False,
            create_constraint=True,
            length=16,
            values_callable=lambda states: [state.value for state in states],
        )
    )
    dataset: Mapped[str]
    """What it trains on, or builds."""
    dataset_fingerprint: Mapped[str | None]
    """Of the dataset when the job was submitted; of a build: of what it built, null until then."""
    labels: Mapped[Json]
    priority: Mapped[int]
    note: Mapped[str | None]

    spec: Mapped[Json]
    """What the client sent."""
    config: Mapped[Json]
    """The effective TrainConfig or DatasetConfig, every default filled in."""
    config_sources: Mapped[Json]
    """Dotted path of each value of `config` -> request | default | derived."""
    resources: Mapped[Json]
    limits: Mapped[Json]

    attempt: Mapped[int] = mapped_column(default=0)
    """Fencing token: number of the newest attempt; an older one writes nothing."""
    attempts_used: Mapped[int] = mapped_column(default=0)
    """Attempts that count against `limits.max_attempts`; a worker's orderly end gives one back."""
    releases: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts given back so far; after a number of them, they count like any other."""
    retries: Mapped[int] = mapped_column(server_default=text("0"))
    """How often a user had the ended job tried again."""
    forgotten_attempt: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts up to this one left nothing to go on from: a retry began from scratch."""
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    """A retry waits at least until then."""

    gathered_by: Mapped[str | None]
    """The worker that keeps its free GPUs for this queued job, until ..."""
    gathered_until: Mapped[datetime | None]
    """... this time, unless it says so again."""

    last_seq: Mapped[int] = mapped_column(default=0)
    """Number of the newest event; events are numbered 1, 2, 3, ... without gaps."""
    progress: Mapped[Json | None]
    """epoch, max_epochs, epochs_done, step, steps, eta_s; of a build: stage, share, eta_s."""
    metrics: Mapped[Json | None]
    """Metrics of the newest epoch."""
    best: Mapped[Json | None]
    """epoch and metrics of the best checkpoint."""
    reason: Mapped[Json | None]
    """Why it failed, was cancelled or waits again: class, code, message, next_action."""
    provenance: Mapped[Json | None]
    """What the newest attempt runs on, as verified inside the trainer."""

    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    """Of a running job: it is to be put aside as soon as its trainer has written its state."""
    force_requested: Mapped[bool] = mapped_column(default=False)

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Since when it waits to be run; kept when a lost attempt is tried again."""
    place: Mapped[Decimal] = mapped_column(Numeric, server_default=PLACES.next_value())
    """Among the queued of its priority, lower runs earlier. Moving a job puts it halfway between
    two others, which a decimal of any length always allows."""
    started_at: Mapped[datetime | None]
    """Start of the first attempt."""
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    version: Mapped[int] = mapped_column(
        server_default=text("1"), onupdate=literal_column("jobs.version + 1")
    )
    """Grows with every change that a client can see; the ETag."""

    request_id: Mapped[str | None]
    """Of the request that submitted it: leads from the logs of the API to those of its run."""
    sweep_id: Mapped[str | None] = mapped_column(ForeignKey("sweeps.id"))
    """Of a trial's run: the sweep it belongs to, ..."""
    trial_number: Mapped[int | None]
    """... which of its trials it is ..."""
    seed_index: Mapped[int | None]
    """... and which of the trial's seeds, from 0."""
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))

    @hybrid_property
    def gpus(self) -> int:
        """GPUs that it takes where a worker has any."""
        given = self.resources["gpus"]
        return 1 if given is None else int(given)

    @gpus.inplace.expression
    @classmethod
    def _gpus(cls) -> ColumnElement[int]:
        return func.coalesce(cls.resources["gpus"].as_integer(), 1)
