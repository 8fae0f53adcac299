"""The daily series behind a trial's objective, read from what its run left. Shapes: T days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.artifacts import Artifacts, MissingFileError, StoreAwayError
from gogooku3.config.sweep_check import DAILY_SERIES
from gogooku3.outputs import SERIES_FILE, read_series

Array = npt.NDArray[np.float64]
Daily = dict[int, float]
"""By day (days since 1970): the value, where it is defined."""


def best_series(artifacts: Artifacts, folders: Sequence[str]) -> pa.Table | None:
    """The daily series of a job's best epoch so far, from the `output_folders` of the job; None
    before the first, or when it is gone. Takes its time: no transaction should wait for it."""
    for folder in folders:
        table = series_in(artifacts, folder)
        if table is not None:
            return table
    return None


def series_in(artifacts: Artifacts, folder: str) -> pa.Table | None:
    """The daily series that a run left in its folder."""
    try:
        with artifacts.open(f"{folder}/{SERIES_FILE}").stream() as file:
            return read_series(file)
    except (MissingFileError, StoreAwayError, OSError, pa.ArrowInvalid):
        return None


def of_metric(table: pa.Table, metric: str, weights: Mapping[str, float]) -> Daily | None:
    """The series whose mean over days is the metric, or that it is made of.

    Over horizons where the metric names none: the mean by `weights`, on days where every horizon
    that has weight is defined. None for a metric that has no daily series.
    """
    name, _, horizon = metric.removeprefix("valid/").partition("@")
    series = DAILY_SERIES.get(name)
    if series is None:
        return None
    wanted = {horizon: 1.0} if horizon else {h: w for h, w in weights.items() if w > 0}
    columns = [(f"{series}@{h}", weight) for h, weight in wanted.items()]
    if not columns or any(column not in table.column_names for column, _ in columns):
        return None
    total = sum(weight for _, weight in columns)
    value_T = sum(_values(table, column) * (weight / total) for column, weight in columns)
    return dict(_defined(table, np.asarray(value_T)))


def returns(table: pa.Table, horizon: str) -> Daily | None:
    """Daily long-short returns over `horizon` days, before costs."""
    column = f"long_short@{horizon}"
    if column not in table.column_names:
        return None
    return dict(_defined(table, _values(table, column)))


def _values(table: pa.Table, column: str) -> Array:
    values: Array = table.column(column).to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def _defined(table: pa.Table, value_T: Array) -> Iterator[tuple[int, float]]:
    days_T = table.column("date").cast(pa.int32()).to_numpy(zero_copy_only=False)
    for day, value in zip(days_T.tolist(), value_T.tolist(), strict=True):
        if np.isfinite(value):
            yield int(day), float(value)
