"""The `metric_blocks` table: what a long series is made of, 128 steps a row."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base

BLOCK = 128
"""Steps of a block. Another length needs a migration that makes every row anew."""


class MetricBlock(Base):
    """Steps `128 * block` to `128 * block + 127` of one metric, for `block` >= 1.

    Kept up by whoever stores points (`app.jobs.points`), so that a curve of a million points is
    drawn from a few thousand rows. The first block has no row: most series never leave it.
    """

    __tablename__ = "metric_blocks"
    # A row of a growing series is written once for each point: room for that in its page.
    __table_args__ = ({"postgresql_with": {"fillfactor": 80}},)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    points: Mapped[int]
    """How many of the block's steps have a point."""
    first_step: Mapped[int]
    last_step: Mapped[int]
    low: Mapped[float | None]
    """Lowest value; null = every value is undefined, as are the steps of low and high then."""
    low_step: Mapped[int | None]
    high: Mapped[float | None]
    high_step: Mapped[int | None]
