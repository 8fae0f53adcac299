"""The workers' own rows: who is there, and what they are doing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.orm import Session

from app.db import Json, Worker
from app.db.database import Database
from app.domain import NotFoundError, new_id

ALIVE_S = 30.0
"""A worker that has not been heard of for this long is taken for dead."""


def is_alive() -> ColumnElement[bool]:
    """The condition on a worker's row for it to be there."""
    return and_(
        Worker.stopped_at.is_(None), Worker.heartbeat_at > func.now() - timedelta(seconds=ALIVE_S)
    )


def register(
    session: Session, *, host: str, pid: int, slots: int, gpus: Sequence[str] = ()
) -> Worker:
    """A new worker process; its first slots have the `gpus`, one each."""
    worker = Worker(
        id=new_id("wrk"),
        host=host,
        pid=pid,
        slots=slots,
        gpus=list(gpus),
        device="cuda" if gpus else "cpu",
        current=[],
    )
    session.add(worker)
    session.flush()
    return worker


def heartbeat(session: Session, worker_id: str, current: Sequence[Json]) -> None:
    """The worker is alive and runs `current`: job_id, attempt and slots of each job.

    Raises NotFoundError when its row is gone.
    """
    _update(session, worker_id, heartbeat_at=func.now(), current=list(current), stopped_at=None)


def stop(session: Session, worker_id: str) -> None:
    """The worker ended in good order. Raises NotFoundError when its row is gone."""
    _update(session, worker_id, stopped_at=func.now(), current=[])


def _update(session: Session, worker_id: str, **values: object) -> None:
    found = session.scalar(
        update(Worker).where(Worker.id == worker_id).values(**values).returning(Worker.id)
    )
    if found is None:
        raise NotFoundError(f"no worker {worker_id!r}")


def alive_count(database: Database) -> int:
    """How many workers have been heard of lately; 0 when there are no tables yet."""
    with database.session() as session:
        if session.scalar(text("SELECT to_regclass('workers')")) is None:
            return 0
        return session.scalar(select(func.count()).select_from(Worker).where(is_alive())) or 0
