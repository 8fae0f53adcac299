"""Locks of a sweep: one to move it on, which is held while the sampler thinks, and its row."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.db import Sweep
from app.domain import NotFoundError

LONGEST_STEP_S = 120
"""A suggestion may take this long; a process that is suspended in one loses its transaction."""


def hold(session: Session, sweep_id: str, *, is_waiting: bool) -> bool:
    """Be the only one to move the sweep on until the transaction ends.

    With `is_waiting`, waits for its turn (at most the connection's lock timeout); else answers
    whether it was free.
    """
    session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_STEP_S}s'"))
    # A unit separator cannot occur in an id, nor in what other locks are made of.
    key = func.hashtextextended(f"sweep\x1f{sweep_id}", 0)
    if is_waiting:
        session.execute(select(func.pg_advisory_xact_lock(key)))
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(key))))


def lock_sweep(session: Session, sweep_id: str) -> Sweep:
    """The sweep as it is now, its row locked until the transaction ends. Raises NotFoundError.

    Comes before the locks of its jobs.
    """
    statement = select(Sweep).where(Sweep.id == sweep_id).with_for_update(key_share=True)
    sweep = session.scalar(statement, execution_options={"populate_existing": True})
    if sweep is None:
        raise NotFoundError(f"no sweep {sweep_id!r}")
    return sweep
