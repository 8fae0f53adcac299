"""Store points of metrics, many at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, case, column, func, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.orm import Session

from app.db import Base, Json
from app.db.metric_block import BLOCK


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
    names = {name: place for place, name in enumerate({point.name for point in points}, 1)}
    session.execute(
        _STORE,
        {
            "job_id": job_id,
            "attempt": attempt,
            "names": list(names),
            "places": _array([names[point.name] for point in points]),
            "steps": _array([point.step for point in points]),
            "values": _array([point.value for point in points]),
        },
    )
    rows = list(_blocks(job_id, points))
    if rows:
        session.execute(_ADD_TO_BLOCKS, {"rows": rows})


def _array(numbers: Sequence[float | None]) -> str:
    """Numbers as PostgreSQL reads an array: the driver would look at each of thousands by
    itself."""
    return f"{{{json.dumps(numbers)[1:-1]}}}"


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


# As fast as COPY for the sizes that come here, and its errors are SQLAlchemy's. A name is sent
# once, however many points it has.
_STORE = text(
    """
    INSERT INTO metric_points (job_id, name, step, value, attempt)
    SELECT :job_id, name, step, value, :attempt
    FROM unnest(CAST(:places AS bigint[]), CAST(:steps AS bigint[]), CAST(:values AS float8[]))
         AS point (place, step, value)
    JOIN unnest(CAST(:names AS text[])) WITH ORDINALITY AS given (name, place) USING (place)
    """
)


def _add_to_blocks() -> Insert:
    """Rows of `_blocks`, each added to what there is of its block."""
    table = Base.metadata.tables["metric_blocks"]
    names = table.columns.keys()
    rows = (
        func.jsonb_to_recordset(bindparam("rows", type_=JSONB))
        .table_valued(*(column(name, table.c[name].type) for name in names))
        .render_derived(name="added", with_types=True)
    )
    statement = insert(table).from_select(names, select(*(rows.c[name] for name in names)))
    new, old = statement.excluded, table.c
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
    changes = {
        "points": old.points + new.points,
        "first_step": func.least(old.first_step, new.first_step),
        "last_step": func.greatest(old.last_step, new.last_step),
        "low": case((is_lower, new.low), else_=old.low),
        "low_step": case((is_lower, new.low_step), else_=old.low_step),
        "high": case((is_higher, new.high), else_=old.high),
        "high_step": case((is_higher, new.high_step), else_=old.high_step),
    }
    same = (old.job_id, old.name, old.block)
    return statement.on_conflict_do_update(index_elements=same, set_=changes)


_ADD_TO_BLOCKS = _add_to_blocks()
