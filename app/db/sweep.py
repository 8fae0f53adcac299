"""The `sweeps` table: one row a sweep; its trials are rows of `trials` and ordinary jobs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Enum, ForeignKey, Index, func, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json
from app.domain import SweepState


class Sweep(Base):
    """A sweep. `app.sweeps.advance` moves it on; Optuna's study of the same name is its memory."""

    __tablename__ = "sweeps"
    __table_args__ = (
        Index("ix_sweeps_live", "id", postgresql_where=text("state IN ('running', 'paused')")),
        Index("ix_sweeps_created_at_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[SweepState] = mapped_column(
        Enum(
            SweepState,
            name="state",
            native_enum=False,
            create_constraint=True,
            length=16,
            values_callable=lambda states: [state.value for state in states],
        )
    )
    dataset: Mapped[str]
    dataset_fingerprint: Mapped[str]
    """Of the dataset when the sweep was created: every trial must see the same."""
    labels: Mapped[Json]
    priority: Mapped[int]
    note: Mapped[str | None]

    spec: Mapped[Json]
    """What the client sent."""
    base: Mapped[Json]
    """The base configuration as it was given, to which a trial's values are added."""
    config: Mapped[Json]
    """The effective SweepSpec, every default filled in."""
    optuna_version: Mapped[str]
    """Together with the sampler, its arguments and its seed: what the suggestions depend on."""

    n_trials: Mapped[int]
    max_parallel: Mapped[int]
    created_trials: Mapped[int] = mapped_column(default=0)
    """Trials that exist; their numbers are 0, 1, 2, ... without gaps."""
    is_prepared: Mapped[bool] = mapped_column(default=False)
    """Whether the study exists, with the trials it is to be warmed with."""

    cancel_requested_at: Mapped[datetime | None]
    reason: Mapped[Json | None]
    """Why it failed or was cancelled: class, code, message, next_action."""
    analysis: Mapped[Json | None]
    """Importances, selection bias, seed noise: worked out by a worker, not by a request."""
    analysed_trials: Mapped[int] = mapped_column(default=0)
    """Ended trials that the analysis knows."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    version: Mapped[int] = mapped_column(
        server_default=text("1"), onupdate=literal_column("sweeps.version + 1")
    )
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
