"""Copies that killed workers of this machine have left, of what a shared store has or never got."""

from __future__ import annotations

import time

from sqlalchemy import select

from app.artifacts import Artifacts
from app.db import Database, Job
from app.domain import JobState

OLD_S = 3600.0
"""Nothing younger is touched: a job may have a folder a moment before it is seen to run."""


def sweep_copies(database: Database, artifacts: Artifacts, old_s: float = OLD_S) -> list[str]:
    """Remove them; answers which jobs' they were. Of running jobs nothing is removed."""
    if not artifacts.is_shared or not artifacts.folder.is_dir():
        return []
    before = time.time() - old_s
    old = {path.name for path in artifacts.folder.iterdir() if path.stat().st_mtime < before}
    if not old:
        return []
    with database.session() as session:
        running = session.scalars(
            select(Job.id).where(Job.id.in_(old), Job.state == JobState.RUNNING)
        )
        left = sorted(old - set(running))
    for job_id in left:
        artifacts.clear(job_id)
    return left
