"""A cache as torch sees it: memory-mapped, zero-copy, its rows found by day and stock.

Shapes: R rows, T market days, N stocks, F features, K horizons.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from gogooku3.data import fingerprints
from gogooku3.data.header import DatasetHeader, nearest, parse_header, read_header
from gogooku3.data.index import RowIndex, first_rows
from gogooku3.data.reader import ERRORS, read_batch
from gogooku3.errors import DatasetCorruptError, DatasetMismatchError


@dataclass(frozen=True)
class Panel:
    """A whole market in memory, shared with every process that maps the same file."""

    header: DatasetHeader
    features_RF: Tensor
    """float32 or float16, a view of the file: writing to it changes this process's copy only."""
    targets_RK: Tensor
    """float32: raw forward returns; NaN = unknown."""
    return_R: Tensor
    """float32: trailing 1-day returns; NaN = unknown."""
    residual_R: Tensor
    """float32: 1-day returns less the market's times beta; NaN = unknown."""
    beta_R: Tensor
    """float32: slope of the 1-day returns on the market's, of 60 days; NaN = unknown."""
    liquidity_R: Tensor
    """float32: mean traded value of the last 20 market days."""
    index: RowIndex
    codes: tuple[str, ...]
    calendar: tuple[date, ...]
    sectors: int
    """Number of sector ids, 0 included."""

    @property
    def row_of_TN(self) -> Tensor:
        """int32: row of the stock's day; -1 = absent. Raises DatasetCorruptError, as do the next
        three: they are made on first use, and only then are all rows looked at."""
        return self.index.row_of_TN

    @property
    def universe_TN(self) -> Tensor:
        """bool: members of each day, all of which have a row."""
        return self.index.universe_TN

    @property
    def sector_N(self) -> Tensor:
        """int64: 0 = unknown."""
        return self.index.sector_N

    @property
    def sector_coarse_N(self) -> Tensor:
        """int64: 0 = unknown."""
        return self.index.sector_coarse_N

    @classmethod
    def open(cls, path: Path, verify: bool = False) -> Panel:
        """Map a cache.

        Args:
            path: the file.
            verify: read every byte and compare with the fingerprints (about 1 s per GB).

        Raises:
            DatasetNotFoundError, DatasetCorruptError, DatasetVersionError: as `read_header`;
            DatasetCorruptError also when the columns do not fit the header or, with `verify`, the
            fingerprints.
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
        if verify:
            fingerprints.verify(header, batch)
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

    def rows_between(self, first: int, last: int, stock_N: Tensor) -> Tensor:
        """row_DN: rows of these stocks on the days from `first` to `last`; -1 = absent. Days before
        the calendar's first, which are negative, are absent."""
        row_DN = self.row_of_TN[max(first, 0) : last + 1].index_select(1, stock_N)
        if first < 0:
            row_DN = torch.nn.functional.pad(row_DN, (0, 0, -first, 0), value=-1)
        return row_DN

    def rows_until(self, day: int, lookback: int, stock_N: Tensor) -> Tensor:
        """row_NT: the same of the `lookback` days up to `day`, oldest first, with the stocks in
        front."""
        return self.rows_between(day + 1 - lookback, day, stock_N).T.contiguous()

    def scored_stocks(self, day: int) -> Tensor:
        """int64 positions of the stocks that are scored on a day: its universe."""
        return torch.nonzero(self.universe_TN[day]).squeeze(1)

    @classmethod
    def _of(cls, header: DatasetHeader, batch: pa.RecordBatch, mapped: mmap.mmap) -> Panel:
        columns = _Columns(batch, mapped)
        rows, stocks = header.rows, header.stocks
        codes = tuple(batch.column("code").dictionary.to_pylist())
        if batch.num_rows != rows or len(codes) != stocks:
            raise ValueError(f"{batch.num_rows} rows and {len(codes)} codes do not fit the header")
        sectors = [len(batch.column(name).dictionary) for name in ("sector", "sector_coarse")]
        index = RowIndex(
            header.path,
            first_rows(columns.values("date", np.int32), header.calendar),
            columns.values("code", np.int32),
            stocks,
            partial(batch.column("universe").to_numpy, zero_copy_only=False),
            (
                (columns.values("sector", np.int32), sectors[0]),
                (columns.values("sector_coarse", np.int32), sectors[1]),
            ),
        )
        return cls(
            header=header,
            features_RF=columns.lists("features", np.dtype(header.storage), len(header.features)),
            targets_RK=columns.lists("targets", np.float32, len(header.horizons)),
            return_R=torch.from_numpy(columns.values("return_1d", np.float32)),
            residual_R=torch.from_numpy(columns.values("residual_1d", np.float32)),
            beta_R=torch.from_numpy(columns.values("beta", np.float32)),
            liquidity_R=torch.from_numpy(columns.values("liquidity", np.float32)),
            index=index,
            codes=codes,
            calendar=header.calendar,
            sectors=sectors[0],
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

    def lists(self, name: str, dtype: DTypeLike, width: int) -> Tensor:
        """A column of fixed-size lists as a matrix [R, width]."""
        flat = self.values(name, dtype, per_row=width)
        return torch.from_numpy(flat.reshape(self.batch.num_rows, width))
