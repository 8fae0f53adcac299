"""Long series are thinned out, and nothing that matters is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from app.db import Database, MetricBlock, MetricPoint
from app.jobs.points import NewPoint, store_points
from app.jobs.series import Series, metric_series

Stored = dict[str, Sequence[float | None] | dict[int, float | None]]


@pytest.fixture
def series(database: Database, submit_job: Callable[..., str]) -> Callable[..., list[Series]]:
    """Store values as a job's metrics, in batches as a trainer's come, and read them back."""
    job_id = submit_job()

    def store_and_read(stored: Stored, *, batches: int = 1, **how: object) -> list[Series]:
        points = [
            NewPoint(name, step, value)
            for name, values in stored.items()
            for step, value in (
                values if isinstance(values, dict) else dict(enumerate(values, start=1))
            ).items()
        ]
        with database.session() as session:
            session.execute(delete(MetricPoint))
            session.execute(delete(MetricBlock))
            for batch in range(batches):
                store_points(session, job_id, 1, points[batch::batches])
            return metric_series(session, job_id, **how)

    return store_and_read


def thinned(
    values: dict[int, float | None], max_points: int, start: int = 0, end: int = 2**31
) -> list[tuple[int, float | None]]:
    """The definition, in plain words."""
    points = [(step, value) for step, value in sorted(values.items()) if start <= step <= end]
    if len(points) <= max_points:
        return points
    buckets = max_points // 4
    first, last = points[0][0], points[-1][0]
    if last - first < 128 * buckets:
        width, origin = math.ceil((last - first + 1) / buckets), first
    else:
        blocks = last // 128 - first // 128 + 1
        width, origin = math.ceil(blocks / buckets) * 128, first // 128 * 128
    kept = set()
    for bucket in {(step - origin) // width for step, _ in points}:
        inside = [point for point in points if (point[0] - origin) // width == bucket]
        known = [point for point in inside if point[1] is not None] or inside[:1]
        kept |= {inside[0], inside[-1]}
        kept.add(min(known, key=lambda p: (p[1] or 0.0, p[0])))
        kept.add(max(known, key=lambda p: (p[1] or 0.0, -p[0])))
    return sorted(kept)


some_value = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0]), st.floats(-5, 5))


@given(
    values=st.one_of(
        st.dictionaries(st.integers(1, 60), some_value, max_size=60),
        # Over many blocks, whole ones and cut ones.
        st.dictionaries(st.integers(1, 3000), some_value, max_size=120),
    ),
    max_points=st.integers(4, 40),
    window=st.one_of(
        st.just((0, 2**31 - 1)), st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted)
    ),
    batches=st.integers(1, 4),
)
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_against_the_definition(
    series: Callable[..., list[Series]],
    values: dict[int, float | None],
    max_points: int,
    window: tuple[int, int],
    batches: int,
) -> None:
    start, end = window
    found = series({"a/b": values}, batches=batches, max_points=max_points, start=start, end=end)
    total = sum(start <= step <= end for step in values)
    if not total:
        assert found == []
        return
    [one] = found
    expected = thinned(values, max_points, start, end)
    assert [(point.step, point.value) for point in one.points] == expected
    assert one.total == total
    assert one.sampled == (len(one.points) < total)
    assert len(one.points) <= max_points


def test_points_have_the_time_and_the_attempt_of_their_rows(
    series: Callable[..., list[Series]], database: Database
) -> None:
    [one] = series({"a/b": [0.1, None, 0.3]})
    with database.session() as session:
        rows = session.scalars(select(MetricPoint).order_by(MetricPoint.step)).all()
    assert one.points == [(row.step, row.value, row.at, row.attempt) for row in rows]
    assert [point.attempt for point in one.points] == [1, 1, 1]


def test_no_peak_is_lost_in_ten_thousand_points(series: Callable[..., list[Series]]) -> None:
    curve = [math.sin(step / 500) for step in range(10_000)]
    curve[6_543] = 9.0
    curve[1_234] = -9.0
    [one] = series({"train/loss": curve}, max_points=100)
    kept = {point.step: point.value for point in one.points}
    assert len(kept) <= 100
    assert (kept[6_544], kept[1_235]) == (9.0, -9.0)
    assert {1, 10_000} <= set(kept)
    assert (one.total, one.sampled) == (10_000, True)


def test_the_same_call_gives_the_same_points(series: Callable[..., list[Series]]) -> None:
    stored = {"a/x": [float(step % 7) for step in range(300)]}
    first = series(stored, max_points=20)
    second = series(stored, max_points=20)
    assert [p.step for p in first[0].points] == [p.step for p in second[0].points]


def test_choosing(series: Callable[..., list[Series]]) -> None:
    stored = {"valid/ic": [1.0] * 9, "valid/ic@5": [2.0] * 9, "train/loss": [3.0] * 9}
    assert [one.name for one in series(stored)] == ["train/loss", "valid/ic", "valid/ic@5"]
    assert [one.name for one in series(stored, split="valid")] == ["valid/ic", "valid/ic@5"]
    assert [one.name for one in series(stored, names=["valid/ic", "none/such"])] == ["valid/ic"]
    assert series(stored, names=[]) == []
    assert series(stored, split="val%") == []
    [one] = series(stored, names=["train/loss"], start=3, end=5)
    assert ([point.step for point in one.points], one.total) == ([3, 4, 5], 3)


def test_each_series_has_its_own_budget(series: Callable[..., list[Series]]) -> None:
    stored = {"a/long": [float(n) for n in range(200)], "a/short": [1.0, 2.0]}
    long, short = series(stored, max_points=8)
    assert (len(long.points), long.sampled) == (4, True)
    assert (len(short.points), short.sampled) == (2, False)
