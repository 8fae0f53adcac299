"""What a feature is, and what several families of them are made with.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.quantities import STALE_DAYS, Quantities

Float = NDArray[np.float64]
Need = Literal["sector", "volume"]

RETURN_DAYS = 2 + STALE_DAYS
"""Look-back of one 1-day return: its day, and the days over which the close before it is found."""


@dataclass(frozen=True)
class FeatureSpec:
    """One feature and how it is made."""

    name: str
    formula: str
    lookback_days: int
    """Market days up to and including t that the value may read. Who is in the universe is not
    counted: that reads the days of the universe's rule."""
    compute: Callable[[Quantities], Float]
    """values_TN; NaN or infinite = unknown."""
    family: str
    """Which of the files of this package it is from."""
    role: Literal["stock", "market"] = "stock"
    """`market` = the same value for every stock of a day."""
    needs: frozenset[Need] = frozenset()
    """What the table must have, besides prices."""


def positive(x_TN: Float) -> Float:
    """The values above 0; others are unknown."""
    return np.where(x_TN > 0, x_TN, np.nan)
