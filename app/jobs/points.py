"""Store points of metrics, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import case, or_, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db import Json, MetricBlock
from app.db.metric_block import BLOCK

# As fast as COPY for the sizes that come here, and its errors are SQLAlchemy's.
_STORE = text(
    """
    INSERT INTO metric_points (job_id, name, step, value, attempt)
    SELECT :job_id, name, step, value, :attempt
    FROM unnest(CAST(:names AS text[]), CAST(:steps AS bigint[]), CAST(:values AS float8[]))
         AS point (name, step, value)
    """
)


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A value that a trainer reported; `value` is finite or None."""

    name: str
    step: int
    value: float | None


def store_points(session: Session, job_id: str, attempt: int, points: Sequence[NewPoint]) -> None:
    """Add points that are not there yet to a job's metrics, all in one statement.

    The caller has locked the job. Raises sqlalchemy.exc.IntegrityError when a step of a metric is
    there already.
    """
    if not points:
        return
    session.execute(
        _STORE,
        {
            "job_id": job_id,
            "attempt": attempt,
            "names": [point.name for point in points],
            "steps": [point.step for point in points],
            "values": [point.value for point in points],
        },
    )
    rows = list(_blocks(job_id, points))
    if rows:
        _add_to_blocks(session, rows)


def _blocks(job_id: str, points: Iterable[NewPoint]) -> Iterable[Json]:
    """What the points add to each block behind the first."""
    inside: dict[tuple[str, int], list[NewPoint]] = {}
    for point in points:
        if point.step >= BLOCK:
            inside.setdefault((point.name, point.step // BLOCK), []).append(point)
    # In one order, so that two writers of different jobs never wait in a circle.
    for (name, block), own in sorted(inside.items()):
        known = [(p.value, p.step) for p in own if p.value is not None]
        low, low_step = min(known, default=(None, None))
        high, high_step = max(known, key=lambda at: (at[0], -at[1]), default=(None, None))
        yield {
            "job_id": job_id,
            "name": name,
            "block": block,
            "points": len(own),
            "first_step": min(p.step for p in own),
            "last_step": max(p.step for p in own),
            "low": low,
            "low_step": low_step,
            "high": high,
            "high_step": high_step,
        }


def _add_to_blocks(session: Session, rows: Sequence[Json]) -> None:
    statement = insert(MetricBlock)
    new, old = statement.excluded, MetricBlock
    is_lower = or_(
        old.low.is_(None),
        new.low < old.low,
        (new.low == old.low) & (new.low_step < old.low_step),
    )
    is_higher = or_(
        old.high.is_(None),
        new.high > old.high,
        (new.high == old.high) & (new.high_step < old.high_step),
    )
    least = case((new.first_step < old.first_step, new.first_step), else_=old.first_step)
    most = case((new.last_step > old.last_step, new.last_step), else_=old.last_step)
    changes = {
        "points": old.points + new.points,
        "first_step": least,
        "last_step": most,
        "low": case((is_lower, new.low), else_=old.low),
        "low_step": case((is_lower, new.low_step), else_=old.low_step),
        "high": case((is_higher, new.high), else_=old.high),
        "high_step": case((is_higher, new.high_step), else_=old.high_step),
    }
    same = (old.job_id, old.name, old.block)
    upsert = statement.on_conflict_do_update(index_elements=same, set_=changes)
    session.execute(upsert, rows)
