"""Steer a sweep: cancel, pause, resume, extend."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Job, Json, Sweep
from app.domain import InvalidStateError, JobState, SweepState
from app.jobs import pause as jobs
from app.jobs.cancel import cancel as cancel_job
from app.sweeps.lock import lock_sweep
from app.sweeps.runs import live_runs

_CANCELLED: Json = {
    "class": "cancelled",
    "code": "cancelled",
    "message": "Cancelled on request.",
    "next_action": None,
}


def cancel(session: Session, sweep_id: str, *, is_finishing: bool = False) -> Sweep:
    """End a sweep: no new trials, and what runs is cancelled too, or with `is_finishing` runs to
    its end first.

    The sweep is cancelled when nothing of it runs any more; a worker sees to that: ring the
    doorbell after the commit. Repeating it changes nothing, except that what was to finish may be
    cancelled after all. Raises NotFoundError, InvalidStateError when it has ended otherwise.
    """
    sweep = lock_sweep(session, sweep_id)
    if sweep.state is SweepState.CANCELLED:
        return sweep
    if sweep.state.is_finished:
        raise InvalidStateError(f"sweep {sweep.id} is {sweep.state.value}; nothing is to cancel")
    if sweep.cancel_requested_at is None:
        sweep.cancel_requested_at = func.now()
        sweep.reason = _CANCELLED
    sweep.state = SweepState.RUNNING  # a paused one, too, has an end to come to
    for run in _runs(session, sweep_id):
        if not is_finishing or run.state is not JobState.RUNNING:
            cancel_job(session, run.id)
    return _written(session, sweep)


def pause(session: Session, sweep_id: str, *, is_finishing: bool = False) -> Sweep:
    """Put a sweep aside: no new trials, and what waits or runs is paused too, or with
    `is_finishing` what runs goes on to its end.

    Repeating it changes nothing, except that what was to finish may be paused after all. Raises
    NotFoundError, InvalidStateError when it has ended or is being cancelled.
    """
    sweep = lock_sweep(session, sweep_id)
    _require_going_on(sweep)
    sweep.state = SweepState.PAUSED
    for run in _runs(session, sweep_id):
        if run.cancel_requested_at is None and not (is_finishing and run.state is JobState.RUNNING):
            jobs.pause(session, run.id)
    return _written(session, sweep)


def resume(session: Session, sweep_id: str) -> Sweep:
    """Let a paused sweep go on, its paused trials from where they were.

    Ring the doorbell after the commit. Repeating it changes nothing. Raises NotFoundError,
    InvalidStateError when it has ended or is being cancelled, TooManyJobsError.
    """
    sweep = lock_sweep(session, sweep_id)
    _require_going_on(sweep)
    if sweep.state is SweepState.PAUSED:
        sweep.state = SweepState.RUNNING
        for run_id in live_runs(session, sweep_id):
            jobs.resume(session, run_id)
    return _written(session, sweep)


def extend(session: Session, sweep_id: str, n_trials: int, *, limit: int | None = None) -> Sweep:
    """Let a sweep have `n_trials` trials in all; one that has ended well goes on.

    `limit`: trials that there can be, of a grid. Ring the doorbell after the commit. Raises
    NotFoundError, InvalidStateError when it was cancelled or has failed, or has more already.
    """
    sweep = lock_sweep(session, sweep_id)
    if sweep.state in {SweepState.CANCELLED, SweepState.FAILED} or (
        sweep.cancel_requested_at is not None
    ):
        raise InvalidStateError(f"sweep {sweep.id} is {_told(sweep)}; it cannot be extended")
    if n_trials < sweep.n_trials:
        raise InvalidStateError(
            f"sweep {sweep.id} has n_trials {sweep.n_trials} already; to end it earlier, cancel it "
            "and let what runs finish"
        )
    if limit is not None and n_trials > limit:
        raise InvalidStateError(f"the grid of sweep {sweep.id} has {limit} points")
    if n_trials > sweep.n_trials:
        sweep.n_trials = n_trials
        if sweep.state is SweepState.SUCCEEDED:
            sweep.state = SweepState.RUNNING
            sweep.finished_at = None
    return _written(session, sweep)


def _require_going_on(sweep: Sweep) -> None:
    if sweep.state.is_finished or sweep.cancel_requested_at is not None:
        raise InvalidStateError(f"sweep {sweep.id} is {_told(sweep)}")


def _told(sweep: Sweep) -> str:
    return sweep.state.value if sweep.state.is_finished else "being cancelled"


def _runs(session: Session, sweep_id: str) -> list[Job]:
    """The live runs, locked one after the other in the order of their ids."""
    ids = live_runs(session, sweep_id)
    statement = select(Job).where(Job.id.in_(ids)).order_by(Job.id).with_for_update(key_share=True)
    found = session.scalars(statement, execution_options={"populate_existing": True}).all()
    return [run for run in found if not run.state.is_finished]


def _written(session: Session, sweep: Sweep) -> Sweep:
    session.flush()
    session.refresh(sweep)
    return sweep
