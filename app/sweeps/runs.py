"""The jobs of a sweep that have not ended."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import FINISHED


def live_runs(session: Session, sweep_id: str) -> list[str]:
    """Ids of the sweep's jobs that wait, run or are paused."""
    statement = select(Job.id).where(Job.sweep_id == sweep_id, Job.state.not_in(FINISHED))
    return list(session.scalars(statement.order_by(Job.id)))
