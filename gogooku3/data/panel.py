"""A cache as torch sees it: memory-mapped, zero-copy, with a dense index of its rows.

Shapes: R rows, T market days, N stocks, F features, K horizons.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from gogooku3.data.header import DatasetHeader, nearest, parse_header, read_header
from gogooku3.data.reader import ERRORS, read_batch
from gogooku3.data.writer import EPOCH, fingerprint
from gogooku3.errors import DatasetCorruptError, DatasetMismatchError


@dataclass(frozen=True)
class Panel:
    """A whole market in memory, shared with every process that maps the same file."""

    header: DatasetHeader
    features_RF: Tensor
    """float32, a view of the file: writing to it changes this process's copy only."""
    targets_RK: Tensor
    """float32: raw forward returns; NaN = unknown."""
    return_R: Tensor
    """float32: trailing 1-day returns; NaN = unknown."""
    liquidity_R: Tensor
    """float32: mean traded value of the last 20 market days."""
    row_of_TN: Tensor
    """int32: row of the stock's day; -1 = absent."""
    universe_TN: Tensor
    """bool: members of each day, all of which have a row."""
    codes: tuple[str, ...]
    calendar: tuple[date, ...]
    sector_N: Tensor
    """int64: 0 = unknown."""
    sector_coarse_N: Tensor
    sectors: int
    """Number of sector ids, 0 included."""

    @classmethod
    def open(cls, path: Path, verify: bool = False) -> Panel:
        """Map a cache.

        Args:
            path: the file.
            verify: read every byte and compare with the fingerprint (about 1 s per GB).

        Raises:
            DatasetNotFoundError, DatasetCorruptError, DatasetVersionError: as `read_header`;
            DatasetCorruptError also when the columns do not fit the header or, with `verify`, the
            fingerprint.
        """
        read_header(path)
        with path.open("rb") as file:
            # Private pages: still shared with the page cache until written to, and, unlike a
            # read-only mapping, something torch takes without a warning.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        metadata, batch = read_batch(path, pa.py_buffer(mapped))
        header = parse_header(path, metadata)
        try:
            panel = cls._of(header, batch, mapped)
        except ERRORS as error:
            raise DatasetCorruptError(
                f"{path} cannot be mapped ({error}): it is damaged; build it again"
            ) from error
        if verify and fingerprint(batch, header.calendar) != header.fingerprint:
            raise DatasetCorruptError(
                f"the rows of {path} do not match its fingerprint: the file was changed or "
                "damaged after it was built; build it again"
            )
        return panel

    def columns_of(self, names: Sequence[str] | None) -> list[int]:
        """Positions of the named features, in the order given; None = all of them.

        Raises DatasetMismatchError naming an unknown feature and the nearest known one.
        """
        known = self.header.feature_names
        if names is None:
            return list(range(len(known)))
        for name in names:
            if name not in known:
                hint = nearest(name, known)
                raise DatasetMismatchError(
                    f"dataset {self.header.name!r} has no feature {name!r}; {hint}"
                )
        return [known.index(name) for name in names]

    def horizons_of(self, horizons: Sequence[int]) -> list[int]:
        """Positions of the horizons in the last axis of the targets.

        Raises DatasetMismatchError naming a horizon the dataset lacks.
        """
        known = self.header.horizons
        for horizon in horizons:
            if horizon not in known:
                raise DatasetMismatchError(
                    f"dataset {self.header.name!r} has no {horizon}-day returns; "
                    f"it has: {', '.join(map(str, known))}"
                )
        return [known.index(horizon) for horizon in horizons]

    def rows_until(self, day: int, lookback: int, stock_N: Tensor) -> Tensor:
        """row_NT: rows of these stocks on the `lookback` days up to `day`, oldest first; -1 =
        absent. Days before the calendar's first are absent."""
        first = day + 1 - lookback
        row_NT = self.row_of_TN[max(first, 0) : day + 1, stock_N].T.contiguous()
        if first < 0:
            row_NT = torch.nn.functional.pad(row_NT, (-first, 0), value=-1)
        return row_NT

    def scored_stocks(self, day: int) -> Tensor:
        """int64 positions of the stocks that are scored on a day: its universe."""
        return torch.nonzero(self.universe_TN[day]).squeeze(1)

    @classmethod
    def _of(cls, header: DatasetHeader, batch: pa.RecordBatch, mapped: mmap.mmap) -> Panel:
        columns = _Columns(batch, mapped)
        rows, days, stocks = header.rows, len(header.calendar), header.stocks
        codes = tuple(batch.column("code").dictionary.to_pylist())
        if batch.num_rows != rows or len(codes) != stocks:
            raise ValueError(f"{batch.num_rows} rows and {len(codes)} codes do not fit the header")
        day_R = _positions(columns.values("date", np.int32), header.calendar)
        stock_R = columns.values("code", np.int32)
        if rows == 0 or stock_R.min() < 0 or stock_R.max() >= stocks:
            raise ValueError("a row names a code that does not exist")
        order_R = day_R.astype(np.int64) * stocks + stock_R
        if (np.diff(order_R) <= 0).any():
            raise ValueError("rows are not sorted by (date, code)")
        row_of_TN = np.full((days, stocks), -1, dtype=np.int32)
        row_of_TN[day_R, stock_R] = np.arange(rows, dtype=np.int32)
        universe_TN = np.zeros((days, stocks), dtype=bool)
        universe_TN[day_R, stock_R] = batch.column("universe").to_numpy(zero_copy_only=False)
        return cls(
            header=header,
            features_RF=columns.lists("features", len(header.features)),
            targets_RK=columns.lists("targets", len(header.horizons)),
            return_R=torch.from_numpy(columns.values("return_1d", np.float32)),
            liquidity_R=torch.from_numpy(columns.values("liquidity", np.float32)),
            row_of_TN=torch.from_numpy(row_of_TN),
            universe_TN=torch.from_numpy(universe_TN),
            codes=codes,
            calendar=header.calendar,
            sector_N=columns.per_stock("sector", stock_R, stocks),
            sector_coarse_N=columns.per_stock("sector_coarse", stock_R, stocks),
            sectors=len(batch.column("sector").dictionary),
        )


class _Columns:
    """Views of a record batch's columns in the mapped file."""

    def __init__(self, batch: pa.RecordBatch, mapped: mmap.mmap) -> None:
        self.batch = batch
        self.mapped = mapped
        self.base = pa.py_buffer(mapped).address

    def values(self, name: str, dtype: DTypeLike, per_row: int = 1) -> NDArray[Any]:
        """A column's values as a writable array over the mapped pages."""
        column = self.batch.column(name)
        if isinstance(column, pa.DictionaryArray):
            column = column.indices
        if isinstance(column, pa.FixedSizeListArray):
            column = column.values
        count = self.batch.num_rows * per_row
        if column.null_count or column.offset or len(column) != count:
            raise ValueError(f"column {name} has {len(column)} values instead of {count}")
        if column.type.bit_width != np.dtype(dtype).itemsize * 8:
            raise ValueError(f"column {name} holds {column.type}")
        offset = column.buffers()[1].address - self.base
        return np.frombuffer(self.mapped, dtype=dtype, count=count, offset=offset)

    def lists(self, name: str, width: int) -> Tensor:
        """A column of fixed-size float32 lists as a matrix [R, width]."""
        flat = self.values(name, np.float32, per_row=width)
        return torch.from_numpy(flat.reshape(self.batch.num_rows, width))

    def per_stock(self, name: str, stock_R: NDArray[np.int32], stocks: int) -> Tensor:
        """A dictionary column that is constant per stock, as int64 [N]."""
        index_N = np.zeros(stocks, dtype=np.int64)
        index_N[stock_R] = self.values(name, np.int32)
        if index_N.min() < 0 or index_N.max() >= len(self.batch.column(name).dictionary):
            raise ValueError(f"column {name} names a sector that does not exist")
        return torch.from_numpy(index_N)


def _positions(date_R: NDArray[np.int32], calendar: Sequence[date]) -> NDArray[np.int64]:
    """Place of each row's date in the calendar."""
    days_T = np.asarray([(day - EPOCH).days for day in calendar], dtype=np.int32)
    if len(days_T) == 0 or (np.diff(days_T) <= 0).any():
        raise ValueError("the calendar is not increasing")
    day_R = np.searchsorted(days_T, date_R)
    if (days_T[np.minimum(day_R, len(days_T) - 1)] != date_R).any():
        raise ValueError("a row has a date that is not in the calendar")
    return day_R
