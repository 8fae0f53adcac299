"""Long series are thinned out, and nothing that matters is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from app.db import Database, MetricPoint
from app.jobs.series import Series, metric_series


@pytest.fixture
def series(database: Database, submit_job: Callable[..., str]) -> Callable[..., list[Series]]:
    """Store values as a job's metrics and read them back."""
    job_id = submit_job()

    def store_and_read(stored: dict[str, Sequence[float | None]], **how: object) -> list[Series]:
        rows = [
            {"job_id": job_id, "name": name, "step": step, "value": value, "attempt": 1}
            for name, values in stored.items()
            for step, value in enumerate(values, start=1)
        ]
        with database.session() as session:
            session.execute(delete(MetricPoint))
            if rows:
                session.execute(insert(MetricPoint), rows)
            return metric_series(session, job_id, **how)

    return store_and_read


def thinned(values: Sequence[float | None], max_points: int) -> list[tuple[int, float | None]]:
    """The definition, in plain words."""
    points = list(enumerate(values, start=1))
    if len(points) <= max_points:
        return points
    buckets = max_points // 4
    kept = set()
    for bucket in range(buckets):
        inside = [p for n, p in enumerate(points) if n * buckets // len(points) == bucket]
        known = [p for p in inside if p[1] is not None] or inside[:1]
        kept |= {inside[0], inside[-1]}
        kept.add(min(known, key=lambda p: (p[1] or 0.0, p[0])))
        kept.add(max(known, key=lambda p: (p[1] or 0.0, -p[0])))
    return sorted(kept)


values = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0]), st.floats(-5, 5)), max_size=60
)


@given(values=values, max_points=st.integers(4, 40))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_against_the_definition(
    series: Callable[..., list[Series]], values: list[float | None], max_points: int
) -> None:
    found = series({"a/b": values}, max_points=max_points)
    if not values:
        assert found == []
        return
    [one] = found
    assert [(point.step, point.value) for point in one.points] == thinned(values, max_points)
    assert one.total == len(values)
    assert one.sampled == (len(one.points) < len(values))
    assert len(one.points) <= max(max_points, 4)


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
