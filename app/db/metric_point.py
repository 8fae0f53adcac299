"""The `metric_points` table: every metric of every epoch."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class MetricPoint(Base):
    """One value of one metric; null = undefined there."""

    __tablename__ = "metric_points"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The epoch, from 1."""
    value: Mapped[float | None]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempt: Mapped[int]
