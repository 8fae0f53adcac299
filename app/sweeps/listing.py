"""Lists of sweeps, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db import Sweep
from app.domain import SweepState


@dataclass(frozen=True)
class SweepFilter:
    """Which sweeps; every condition that is given must hold."""

    states: Sequence[SweepState] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    q: str | None = None
    """Part of the name or of the note, in any case, or the whole id."""


def list_sweeps(
    session: Session, where: SweepFilter, *, page_size: int, before: str | None
) -> tuple[list[Sweep], str | None]:
    """Sweeps from before the id `before`, newest first, and the id to go on before.

    Ids sort by time, so sweeps that are added in between neither repeat nor hide others.
    """
    statement = select(Sweep)
    if where.states:
        statement = statement.where(Sweep.state.in_(where.states))
    if where.labels:
        statement = statement.where(Sweep.labels.contains(dict(where.labels)))
    if where.dataset is not None:
        statement = statement.where(Sweep.dataset == where.dataset)
    if where.q:
        statement = statement.where(
            or_(
                Sweep.name.icontains(where.q, autoescape=True),
                Sweep.note.icontains(where.q, autoescape=True),
                Sweep.id == where.q,
            )
        )
    if before is not None:
        statement = statement.where(Sweep.id < before)
    rows = list(session.scalars(statement.order_by(Sweep.id.desc()).limit(page_size + 1)))
    more = len(rows) > page_size
    return rows[:page_size], rows[page_size - 1].id if more else None
