"""The `trials` table: what a sweep chose, and what came of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class Trial(Base):
    """A trial of a sweep; its runs are the jobs with its sweep_id and trial_number."""

    __tablename__ = "trials"
    __table_args__ = (
        CheckConstraint("(outcome IS NULL) = (told_at IS NULL)", name="told_has_outcome"),
        CheckConstraint(
            "outcome IN ('succeeded', 'pruned', 'failed', 'cancelled')", name="outcome"
        ),
        Index("ix_trials_untold", "sweep_id", postgresql_where=text("told_at IS NULL")),
    )

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    params: Mapped[Json]
    """By path of the configuration."""
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    """Its first run; with several seeds, the one that can be pruned."""
    outcome: Mapped[str | None]
    """succeeded | pruned | failed | cancelled, once the study has heard of it."""
    values: Mapped[list[float] | None] = mapped_column(JSONB(none_as_null=True))
    """One for each objective; null of a trial that is not complete."""
    seed_values: Mapped[list[float] | None] = mapped_column(JSONB(none_as_null=True))
    """The first objective of each seed's run."""
    violations: Mapped[Json | None]
    """By constraint: how far it is missed; > 0 = not met."""
    reason: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    told_at: Mapped[datetime | None]
