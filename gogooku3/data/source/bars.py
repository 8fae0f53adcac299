"""A market as dense matrices, and columns that the source brings ready-made.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.report import Finding

Float = NDArray[np.float64]


@dataclass(frozen=True)
class ReadyColumn:
    """A feature or target that the table brings with it. Only its name is held: `read` fetches
    the values, one column at a time, so the table may be larger than memory."""

    name: str
    role: Literal["stock", "market"]
    """`market` = the same value for every stock of a day."""
    formula: str
    """What is known of its making."""
    lookback_days: int
    """Market days up to and including t that the value is said to read."""
    normalise: bool
    """Place it in its day's distribution; False = store it as it comes."""
    read: Callable[[], Float]
    """values_TN float64; NaN = unknown."""


@dataclass(frozen=True)
class Bars:
    """A market as dense matrices; NaN = no row that day, or a value that is not known."""

    calendar: tuple[date, ...]
    codes: tuple[str, ...]
    open_TN: Float
    high_TN: Float
    low_TN: Float
    close_TN: Float
    """Known exactly where the stock has a row (all unknown where the table has no close)."""
    volume_TN: Float
    sectors: tuple[str, ...]
    sector_N: NDArray[np.int32]
    """Position in `sectors`; -1 = unknown. A stock keeps the first sector it was seen in, because
    a later one would not have been known."""
    sectors_coarse: tuple[str, ...]
    sector_coarse_N: NDArray[np.int32]
    source: Mapping[str, Any]
    quality: Mapping[str, int]
    ready_features: tuple[ReadyColumn, ...] = ()
    """When there are any, they are the dataset's features."""
    ready_targets: Mapping[int, ReadyColumn] = field(default_factory=dict)
    """Horizon in market days -> forward return."""
    report: tuple[Finding, ...] = ()
    """What the checks found, the most severe first."""
    rows_TN: NDArray[np.bool_] | None = None
    """Where there are rows, when the table has no close to tell it by."""

    @property
    def present_TN(self) -> NDArray[np.bool_]:
        """The stock has a row that day."""
        return ~np.isnan(self.close_TN) if self.rows_TN is None else self.rows_TN
