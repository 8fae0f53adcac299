"""Series of metrics, thinned out without losing what matters in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from app.db import MetricPoint

_KEPT = 4
"""Points that a bucket may keep: first, last, lowest, highest."""


@dataclass(frozen=True)
class Point:
    """A metric's value at the end of an epoch; null = undefined there."""

    step: int
    value: float | None
    at: datetime
    attempt: int


@dataclass(frozen=True)
class Series:
    """A metric over the epochs."""

    name: str
    points: list[Point]
    total: int
    """Points there are in the range that was asked for."""
    sampled: bool
    """Whether some of them were left out."""


def metric_series(
    session: Session,
    job_id: str,
    *,
    names: Sequence[str] | None = None,
    split: str | None = None,
    start: int | None = None,
    end: int | None = None,
    max_points: int = 500,
) -> list[Series]:
    """A job's metrics in order of name, each with at most `max_points` (>= 4) points.

    A longer series is cut into equal buckets, and of each its first, last, lowest and highest
    point is kept: the same call gives the same points, and no peak is lost. `split` keeps the names
    that start with `split/`; `start` and `end` are epochs, both included. The work is done in
    the database, so memory stays flat.
    """
    point = MetricPoint
    conditions: list[ColumnElement[bool]] = [point.job_id == job_id]
    if names is not None:
        conditions.append(point.name.in_(names))
    if split is not None:
        conditions.append(point.name.startswith(f"{split}/", autoescape=True))
    if start is not None:
        conditions.append(point.step >= start)
    if end is not None:
        conditions.append(point.step <= end)
    buckets = max(max_points // _KEPT, 1)
    numbered = (
        select(
            point.name,
            point.step,
            point.value,
            point.at,
            point.attempt,
            (func.row_number().over(partition_by=point.name, order_by=point.step) - 1).label("n"),
            func.count().over(partition_by=point.name).label("total"),
        )
        .where(*conditions)
        .subquery()
    )
    row = numbered.c
    bucketed = select(
        numbered,
        # Whole numbers: the buckets' borders are the same on every machine.
        case((row.total <= max_points, row.n), else_=row.n * buckets // row.total).label("bucket"),
    ).subquery()
    cell = bucketed.c
    in_bucket = (cell.name, cell.bucket)
    bounded = select(
        bucketed,
        func.min(cell.step).over(partition_by=in_bucket).label("first"),
        func.max(cell.step).over(partition_by=in_bucket).label("last"),
        func.min(cell.value).over(partition_by=in_bucket).label("low"),
        func.max(cell.value).over(partition_by=in_bucket).label("high"),
    ).subquery()
    bound = bounded.c
    in_bucket = (bound.name, bound.bucket)

    def first_step_at(value: ColumnElement[float]) -> ColumnElement[int]:
        steps = func.min(bound.step).filter(bound.value == value)
        return steps.over(partition_by=in_bucket)

    marked = select(
        bounded,
        first_step_at(bound.low).label("lowest"),
        first_step_at(bound.high).label("highest"),
    ).subquery()
    kept = marked.c
    statement = (
        select(kept.name, kept.step, kept.value, kept.at, kept.attempt, kept.total)
        .where(kept.step.in_((kept["first"], kept["last"], kept.lowest, kept.highest)))
        .order_by(kept.name, kept.step)
    )
    found: dict[str, tuple[int, list[Point]]] = {}
    for name, step, value, at, attempt, total in session.execute(statement):
        found.setdefault(name, (total, []))[1].append(Point(step, value, at, attempt))
    return [
        Series(name, points, total, sampled=len(points) < total)
        for name, (total, points) in found.items()
    ]
