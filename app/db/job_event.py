"""The `events` table: what happened to a job, append-only and numbered without gaps."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class JobEvent(Base):
    """An event; `type` is state | epoch | checkpoint | progress | warning."""

    __tablename__ = "events"
    __table_args__ = (
        # However often a resumed trainer repeats itself, an epoch is told once.
        Index(
            "uq_events_epoch",
            "job_id",
            "epoch",
            unique=True,
            postgresql_where=text("type = 'epoch'"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempt: Mapped[int]
    epoch: Mapped[int | None]
    payload: Mapped[Json]
