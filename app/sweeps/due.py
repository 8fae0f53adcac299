"""Which sweeps there is something to do for; asked every other second, without Optuna."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.db import Job, Sweep, Trial
from app.domain import FINISHED, SweepState


def due(session: Session) -> list[str]:
    """Sweeps that can be moved on now, oldest first; cheap enough to ask every second."""
    return list(
        session.scalars(
            select(Sweep.id)
            .where(
                Sweep.state.in_((SweepState.RUNNING, SweepState.PAUSED)),
                or_(
                    _has_ended_trial(),
                    _is_over(),
                    and_(Sweep.state == SweepState.RUNNING, _has_work()),
                ),
            )
            .order_by(Sweep.id)
        )
    )


def stale(session: Session, *, ended_only: bool = False) -> list[str]:
    """Sweeps with ended trials that their analysis does not know, ended sweeps first."""
    ended = (
        select(func.count())
        .where(Trial.sweep_id == Sweep.id, Trial.told_at.is_not(None))
        .correlate(Sweep)
        .scalar_subquery()
    )
    statement = (
        select(Sweep.id)
        .where(Sweep.analysed_trials < Sweep.created_trials, Sweep.analysed_trials < ended)
        .order_by(Sweep.finished_at.is_(None), Sweep.id)
    )
    if ended_only:
        statement = statement.where(Sweep.finished_at.is_not(None))
    return list(session.scalars(statement))


def _has_ended_trial() -> ColumnElement[bool]:
    """A trial that nobody has told the study of, none of whose runs waits or runs."""
    run = aliased(Job)
    live = select(run.id).where(
        run.sweep_id == Sweep.id, run.trial_number == Trial.number, run.state.not_in(FINISHED)
    )
    return (
        select(Trial.number)
        .where(Trial.sweep_id == Sweep.id, Trial.told_at.is_(None), ~live.exists())
        .correlate(Sweep)
        .exists()
    )


def _is_over() -> ColumnElement[bool]:
    """Nothing is to come, and the study knows of everything: the sweep has to be ended."""
    untold = select(Trial.number).where(Trial.sweep_id == Sweep.id, Trial.told_at.is_(None))
    return and_(~_wants_more(), ~untold.correlate(Sweep).exists())


def _has_work() -> ColumnElement[bool]:
    live = (
        select(func.count())
        .where(Job.sweep_id == Sweep.id, Job.state.not_in(FINISHED))
        .correlate(Sweep)
        .scalar_subquery()
    )
    return or_(Sweep.is_prepared.is_(False), and_(_wants_more(), live < Sweep.max_parallel))


def _wants_more() -> ColumnElement[bool]:
    return and_(Sweep.cancel_requested_at.is_(None), Sweep.created_trials < Sweep.n_trials)
