"""Datasets and what uses them: nothing is taken away from under a job or a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session

from app.db import Job, Sweep
from app.domain import FINISHED, DatasetInUseError, SweepState
from gogooku3.data.graphs import remove_graphs
from gogooku3.data.header import SUFFIX
from gogooku3.errors import DatasetNotFoundError

_NAMED = 5
"""Jobs and sweeps that a message names."""


def share(session: Session, name: str) -> None:
    """Keep the dataset as it is until the transaction ends; others may share it."""
    session.execute(_SHARE, {"name": _locked(name)})


def own(session: Session, name: str) -> None:
    """Keep everybody else from using or changing the dataset until the transaction ends."""
    session.execute(_OWN, {"name": _locked(name)})


def try_share(session: Session, names: Iterable[str]) -> set[str]:
    """`share` those of the datasets that nobody owns; never waits."""
    return set(session.scalars(_TRY_SHARE, {"names": list(names), "prefix": _locked("")}))


def live_jobs(session: Session, name: str) -> list[str]:
    """Ids of the jobs that wait, run or are paused on the dataset, oldest first."""
    return list(session.scalars(_LIVE, {"name": name}))


def live_builds(session: Session, name: str) -> list[str]:
    """Ids of those among them that build it."""
    return list(session.scalars(_BUILDS, {"name": name}))


def live_users(session: Session, name: str) -> list[str]:
    """Ids of the sweeps that are not over, whether or not a trial waits or runs at this moment, and
    of the live jobs on the dataset."""
    live = (SweepState.RUNNING, SweepState.PAUSED)
    sweeps = select(Sweep.id).where(Sweep.dataset == name, Sweep.state.in_(live))
    return [*session.scalars(sweeps.order_by(Sweep.id)), *live_jobs(session, name)]


def refuse_use(name: str, users: list[str], what: str) -> None:
    """Raise DatasetInUseError naming the users, if there are any."""
    if not users:
        return
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    raise DatasetInUseError(f"{what} dataset {name!r}: {', '.join(users[:_NAMED])}{more}")


def delete_dataset(session: Session, caches: Path, name: str) -> None:
    """Remove a dataset's file and the graphs beside it.

    Holding the dataset's lock, so that a job that is submitted at this moment either is seen here
    or finds no dataset. Raises DatasetNotFoundError, or DatasetInUseError naming the users.
    """
    own(session, name)
    path = caches / f"{name}{SUFFIX}"
    if not path.is_file():
        raise DatasetNotFoundError(f"no dataset {name!r}")
    refuse_use(name, live_users(session, name), "wait for or cancel what uses")
    # The graphs first: they can be made again, and a removal that is cut short can be repeated.
    remove_graphs(path)
    path.unlink()


def _locked(name: str) -> str:
    # A unit separator cannot occur in a dataset's name, nor in what other locks are made of.
    return f"dataset\x1f{name}"


# Every job that is submitted asks these: they are made once.
_SHARE = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")
_OWN = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_TRY_SHARE = text(
    """
    SELECT name FROM unnest(CAST(:names AS text[])) AS name
    WHERE pg_try_advisory_xact_lock_shared(hashtextextended(:prefix || name, 0))
    """
)
_LIVE = (
    select(Job.id)
    .where(Job.dataset == bindparam("name"), Job.state.not_in(FINISHED))
    .order_by(Job.created_at)
)
# In the words of the index of builds (`uq_jobs_build`): a dataset may have any number of jobs.
IS_LIVE_BUILD = "kind = 'dataset' AND state IN ('queued', 'running', 'paused')"
_BUILDS = text(f"SELECT id FROM jobs WHERE dataset = :name AND {IS_LIVE_BUILD} ORDER BY created_at")
