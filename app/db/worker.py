"""The `workers` table: the processes that run jobs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class Worker(Base):
    """A worker process. It is alive as long as its heartbeat is fresh."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    slots: Mapped[int]
    gpus: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    """The GPUs of its first slots, one each; the slots after them have none."""
    device: Mapped[str]
    """`cpu`, or `cuda` when it has a GPU."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    current: Mapped[list[Json]]
    """What runs in its slots: job_id, attempt, slot (the first), slots."""
    stopped_at: Mapped[datetime | None]
