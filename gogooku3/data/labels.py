"""Targets: raw forward returns by market day.

Shapes: T market days, N stocks, K horizons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.quantities import Quantities

Float = NDArray[np.float64]


def forward_return(quantities: Quantities, horizon: int) -> Float:
    """close[t+h] / close[t] - 1, t+h being the h-th market day after t.

    Unknown (NaN, never 0) where there is no row at t or at t+h, and where an extreme 1-day move
    lies between them.
    """
    close_TN = quantities.bars.close_TN
    extremes_TN = np.cumsum(quantities.extreme_TN, axis=0)
    return_TN = np.full_like(close_TN, np.nan)
    if horizon >= len(close_TN):
        return return_TN
    return_TN[:-horizon] = close_TN[horizon:] / close_TN[:-horizon] - 1.0
    return_TN[:-horizon][extremes_TN[horizon:] > extremes_TN[:-horizon]] = np.nan
    return return_TN
