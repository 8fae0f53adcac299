"""Series of metrics, thinned out without losing what matters in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from app.db.metric_block import BLOCK

_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
"""Where PostgreSQL counts its microseconds from."""
_KEPT = 4
"""Points that a bucket may keep: first, last, lowest, highest."""
LAST_STEP = 2**31 - 1


class Point(NamedTuple):
    """A metric's value at the end of an epoch; null = undefined there."""

    step: int
    value: float | None
    at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class Series:
    """A metric over the epochs, as columns: thousands of points cost no thousands of objects."""

    name: str
    total: int
    """Points there are in the range that was asked for."""
    steps: Sequence[int]
    values: Sequence[float | None]
    ats: Sequence[datetime]
    attempts: Sequence[int]

    @property
    def sampled(self) -> bool:
        """Whether some of them were left out."""
        return len(self.steps) < self.total

    @property
    def points(self) -> list[Point]:
        """The points, by step."""
        columns = (self.steps, self.values, self.ats, self.attempts)
        return [Point(*point) for point in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Extent:
    """A metric's name, and how far and how dense its points lie in the range asked for."""

    name: str
    total: int
    first: int
    last: int


@dataclass(frozen=True)
class Window:
    """A range of steps, both included, in the parts that its reading is made of.

    The whole blocks inside are read from `metric_blocks`; the first block, which has no row there,
    and the blocks that the range cuts are read from the points themselves.
    """

    start: int = 0
    end: int = LAST_STEP

    def parameters(self) -> dict[str, int]:
        """What the statements call the parts."""
        first_block = max(1, -(-self.start // BLOCK))
        end_block = (self.end + 1) // BLOCK
        return {
            "first_block": first_block,
            "end_block": end_block,
            "head_start": self.start,
            "head_end": min(self.end, first_block * BLOCK - 1),
            "tail_start": max(end_block, first_block) * BLOCK,
            "tail_end": self.end,
        }


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

    A longer series is cut into buckets of equally many steps, and of each its first, last, lowest
    and highest point is kept: the same call gives the same points, and no peak is lost. Buckets of
    128 steps and more are made of whole blocks (`metric_blocks`), so a series of a million points
    costs a few thousand rows; memory is bounded by what is answered. `split` keeps the names
    that start with `split/`; `start` and `end` are epochs, both included.
    """
    window = Window(start or 0, LAST_STEP if end is None else end)
    found = extents(session, job_id, names=names, split=split, window=window)
    return thinned(session, job_id, found, window, max_points)


def extents(
    session: Session,
    job_id: str,
    *,
    names: Sequence[str] | None,
    split: str | None,
    window: Window,
) -> list[Extent]:
    """The job's metrics that have points in the window, in order of name."""
    wanted = _names(session, job_id) if names is None else list(dict.fromkeys(names))
    if split is not None:
        wanted = [name for name in wanted if name.startswith(f"{split}/")]
    if not wanted:
        return []
    rows = session.execute(_EXTENTS, {"job_id": job_id, "names": wanted, **window.parameters()})
    return [Extent(name, int(total), first, last) for name, total, first, last in rows]


def thinned(
    session: Session, job_id: str, found: Sequence[Extent], window: Window, max_points: int
) -> list[Series]:
    """The series of these extents, each with at most `max_points` points."""
    buckets = max(max_points // _KEPT, 1)
    whole, fine, coarse = list[Extent](), list[Extent](), list[Extent]()
    for one in found:
        if one.total <= max_points:
            whole.append(one)
        elif one.last - one.first < BLOCK * buckets:
            fine.append(one)
        else:
            coarse.append(one)
    columns = dict[str, tuple[list[Any], ...]]()

    def read(statement: TextClause, some: Sequence[Extent], **more: Any) -> None:
        if not some:
            return
        parameters = {
            "job_id": job_id,
            "names": [one.name for one in some],
            "start": window.start,
            "end": window.end,
            **more,
        }
        for name, *own in session.execute(statement, parameters):
            columns[name] = _columns(*own)

    read(_WHOLE, whole)
    read(
        _FINE,
        fine,
        firsts=[one.first for one in fine],
        widths=[-(-(one.last - one.first + 1) // buckets) for one in fine],
    )
    # Here `first` and `width` are in blocks.
    read(
        _COARSE,
        coarse,
        firsts=[one.first // BLOCK for one in coarse],
        widths=[-(-(one.last // BLOCK - one.first // BLOCK + 1) // buckets) for one in coarse],
        **window.parameters(),
    )
    nothing: tuple[list[Any], ...] = ([], [], [], [])
    return [Series(one.name, one.total, *columns.get(one.name, nothing)) for one in found]


def _columns(steps: bytes, values: bytes, ats: bytes, attempts: bytes) -> tuple[list[Any], ...]:
    """The columns of `_COLUMNS`, as `Series` has them."""
    known = np.frombuffer(values, ">f8")
    undefined = np.isnan(known)
    listed: list[float | None] = known.tolist()
    for place in np.flatnonzero(undefined):
        listed[place] = None
    microseconds = np.frombuffer(ats, ">i8").tolist()
    # Points of an epoch, or of a batch of epochs, have one time.
    moments = {us: _FIRST_MOMENT + timedelta(microseconds=us) for us in set(microseconds)}
    return (
        np.frombuffer(steps, ">i8").tolist(),
        listed,
        [moments[us] for us in microseconds],
        np.frombuffer(attempts, ">i8").tolist(),
    )


def _names(session: Session, job_id: str) -> list[str]:
    return list(session.scalars(_NAMES, {"job_id": job_id}))


# One look into the index for each name: the points between are not read.
_NAMES = text(
    """
    WITH RECURSIVE names AS (
      (SELECT name FROM metric_points WHERE job_id = :job_id ORDER BY name LIMIT 1)
      UNION ALL
      SELECT (SELECT name FROM metric_points
              WHERE job_id = :job_id AND name > names.name ORDER BY name LIMIT 1)
      FROM names WHERE names.name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL
    """
)

_EXTENTS = text(
    """
    SELECT wanted.name, sum(points), min(first_step), max(last_step)
    FROM unnest(CAST(:names AS text[])) AS wanted (name), LATERAL (
      SELECT points, first_step, last_step FROM metric_blocks AS block
      WHERE block.job_id = :job_id AND block.name = wanted.name
        AND block >= :first_block AND block < :end_block
      UNION ALL
      SELECT count(*), min(step), max(step) FROM metric_points AS point
      WHERE point.job_id = :job_id AND point.name = wanted.name
        AND step BETWEEN :head_start AND :head_end
      UNION ALL
      SELECT count(*), min(step), max(step) FROM metric_points AS point
      WHERE point.job_id = :job_id AND point.name = wanted.name
        AND step BETWEEN :tail_start AND :tail_end
    ) AS part
    GROUP BY wanted.name
    HAVING sum(points) > 0
    ORDER BY wanted.name
    """
)

# As PostgreSQL would send each by itself, one after the other: as arrays, which are taken apart
# value by value on both sides, 10,000 points take three times as long.
_COLUMNS = """
    name,
    string_agg(int8send(step), NULL ORDER BY step),
    string_agg(float8send(coalesce(value, 'NaN')), NULL ORDER BY step),
    string_agg(timestamptz_send(at), NULL ORDER BY step),
    string_agg(int8send(attempt), NULL ORDER BY step)
"""

_WHOLE = text(
    f"""
    SELECT {_COLUMNS} FROM metric_points
    WHERE job_id = :job_id AND name = ANY (CAST(:names AS text[]))
      AND step BETWEEN :start AND :end
    GROUP BY name
    """
)

_WANTED = """
    unnest(CAST(:names AS text[]), CAST(:firsts AS bigint[]), CAST(:widths AS bigint[]))
      AS wanted (name, first, width)
"""

# Of each bucket, the steps that are kept, and then their points.
_KEEP = f"""
    SELECT {_COLUMNS}
    FROM (SELECT DISTINCT name, unnest(ARRAY[first_step, last_step, low_step, high_step]) AS step
          FROM bucket) AS kept
    JOIN metric_points AS point USING (name, step)
    WHERE point.job_id = :job_id
    GROUP BY name
"""

_FINE = text(
    f"""
    WITH bucket AS (
      SELECT wanted.name, min(step) AS first_step, max(step) AS last_step,
             (array_agg(step ORDER BY value, step))[1] AS low_step,
             (array_agg(step ORDER BY value DESC NULLS LAST, step))[1] AS high_step
      FROM {_WANTED}
      JOIN metric_points AS point
        ON point.job_id = :job_id AND point.name = wanted.name AND step BETWEEN :start AND :end
      GROUP BY wanted.name, (step - wanted.first) / wanted.width
    )
    {_KEEP}
    """
)

_COARSE = text(
    f"""
    WITH bucket AS (
      SELECT wanted.name, min(first_step) AS first_step, max(last_step) AS last_step,
             (array_agg(low_step ORDER BY low, low_step))[1] AS low_step,
             (array_agg(high_step ORDER BY high DESC NULLS LAST, high_step))[1] AS high_step
      FROM {_WANTED}, LATERAL (
        SELECT block, first_step, last_step, low, low_step, high, high_step
        FROM metric_blocks AS own
        WHERE own.job_id = :job_id AND own.name = wanted.name
          AND block >= :first_block AND block < :end_block
        UNION ALL
        SELECT step / {BLOCK}, step, step, value, step, value, step FROM metric_points AS point
        WHERE point.job_id = :job_id AND point.name = wanted.name
          AND (step BETWEEN :head_start AND :head_end OR step BETWEEN :tail_start AND :tail_end)
      ) AS part
      GROUP BY wanted.name, (block - wanted.first) / wanted.width
    )
    {_KEEP}
    """
)
