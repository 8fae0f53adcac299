"""The `attempts` table: who held a job's lease, when, and how it ended."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class Attempt(Base):
    """One run of a job by one worker."""

    __tablename__ = "attempts"
    __table_args__ = (
        # What the queue's forecast measures: the newest of those that needed no other try.
        Index(
            "ix_attempts_pace",
            "ended_at",
            postgresql_where=text("outcome = 'succeeded' AND number = 1"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[str]
    lease_owner: Mapped[str]
    slot: Mapped[int]
    """The first of its slots."""
    slots: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))
    """All of its slots at the worker."""
    pid: Mapped[int | None]
    """Process id of the trainer, as it reported it."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """succeeded | failed | cancelled | released | lost."""
    reason: Mapped[Json | None]
    exit_code: Mapped[int | None]
    stale_writes: Mapped[int] = mapped_column(default=0)
    """Writes rejected because the attempt had lost its lease."""
    resume_path: Mapped[str | None]
    """Resume state, relative to the artifacts folder."""
    last_epoch: Mapped[int | None]
    """Newest epoch that this attempt completed."""
