"""The `checkpoints` table: the model files that jobs left behind."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class Checkpoint(Base):
    """A complete `.gk3` file; at most one of a job's is the best."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("job_id", "epoch"),
        Index(
            "uq_checkpoints_best",
            "job_id",
            unique=True,
            postgresql_where=text("is_best"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    epoch: Mapped[int]
    path: Mapped[str]
    """Relative to the artifacts folder."""
    size: Mapped[int]
    sha256: Mapped[str]
    metrics: Mapped[Json]
    is_best: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
