"""Checks a dataset's targets against the prices it was built from, as its own daily returns tell
them. No torch, no Polars.

Shapes: R rows, T market days, N stocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gogooku3.data.header import DatasetHeader, read_header
from gogooku3.data.reader import read_batch
from gogooku3.data.writer import EPOCH

TOLERANCE = 1e-4
"""Of 1 + return: float32 daily returns, multiplied over a horizon, are nearer than this."""


@dataclass(frozen=True)
class TargetAudit:
    """What became of one horizon's targets."""

    horizon: int
    compared: int
    """Rows whose forward return the daily returns tell."""
    mismatched: int
    """Those of them whose target is another, or unknown."""
    invented: int
    """Rows with a target although there is no row on the day it ends."""
    example: str | None
    """The first of either."""


def audit_targets(dataset: DatasetHeader | Path) -> list[TargetAudit]:
    """Work every target out again: the product of the stock's daily returns from the day after t to
    the horizon's last day.

    Ready-made targets need not agree: they may be returns of another kind. Raises as `read_header`.
    """
    header = dataset if isinstance(dataset, DatasetHeader) else read_header(dataset)
    with pa.memory_map(str(header.path)) as mapped:
        _, batch = read_batch(header.path, mapped.read_buffer())
    days_T = np.asarray([(day - EPOCH).days for day in header.calendar])
    day_R = np.searchsorted(days_T, batch.column("date").view(pa.int32()).to_numpy())
    code = batch.column("code")
    stock_R = code.indices.to_numpy()
    shape = (len(days_T), header.stocks)
    return_R = batch.column("return_1d").to_numpy()
    present_TN = np.zeros(shape, dtype=np.bool_)
    present_TN[day_R, stock_R] = True
    log_TN = np.zeros(shape)
    known_R = np.isfinite(return_R)
    log_TN[day_R[known_R], stock_R[known_R]] = np.log1p(return_R[known_R].astype(np.float64))
    unknown_TN = np.zeros(shape, dtype=np.int32)
    unknown_TN[day_R[~known_R], stock_R[~known_R]] = 1
    sum_TN, holes_TN = np.cumsum(log_TN, axis=0), np.cumsum(unknown_TN, axis=0)
    targets = batch.column("targets")
    targets_RK = targets.flatten().to_numpy().reshape(len(targets), -1)
    found = []
    for place, horizon in enumerate(header.horizons):
        end_R = np.minimum(day_R + horizon, len(days_T) - 1)
        ends_R = (day_R + horizon < len(days_T)) & present_TN[end_R, stock_R]
        whole_R = ends_R & (holes_TN[end_R, stock_R] == holes_TN[day_R, stock_R])
        wanted_R = np.expm1(sum_TN[end_R, stock_R] - sum_TN[day_R, stock_R])
        target_R = targets_RK[:, place].astype(np.float64)
        near_R = np.abs(target_R - wanted_R) <= TOLERANCE * (1.0 + wanted_R)
        mismatched_R, invented_R = whole_R & ~near_R, ~ends_R & np.isfinite(target_R)
        found.append(
            TargetAudit(
                horizon=horizon,
                compared=int(whole_R.sum()),
                mismatched=int(mismatched_R.sum()),
                invented=int(invented_R.sum()),
                example=_example(header, mismatched_R | invented_R, day_R, stock_R, code),
            )
        )
    return found


def _example(
    header: DatasetHeader,
    bad_R: NDArray[np.bool_],
    day_R: NDArray[np.int64],
    stock_R: NDArray[np.int32],
    code: pa.DictionaryArray,
) -> str | None:
    rows = np.flatnonzero(bad_R)
    if not len(rows):
        return None
    return f"{header.calendar[day_R[rows[0]]]} {code.dictionary[int(stock_R[rows[0]])].as_py()}"
