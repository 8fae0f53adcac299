"""Per-day normalisation of a feature over the day's universe.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gogooku3.config.dataset import Normalisation
from gogooku3.data.ranks import midranks

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

CLIP = 5.0
"""z-scores are cut here."""


def normalise(
    x_TN: Float, counted_TN: Bool, present_TN: Bool, kind: Normalisation
) -> NDArray[np.float32]:
    """Place each day's values in the distribution of that day's counted stocks.

    `rank`: the average rank, scaled so that distinct ranks have mean 0 and variance 1.
    `rank_gauss`: the normal quantile of (average rank - 1/2) / count (the inverse normal transform;
    Beasley, Erickson and Allison 2009). `zscore`: distance from the mean in standard deviations,
    cut at 5: the only kind that needs winsorising, since ranks know no outliers. A stock outside
    the distribution gets the place its value would have in it. Unknown values, days with fewer than
    two known values and constant days are 0.
    """
    if kind == "zscore":
        return _zscore(x_TN, counted_TN, present_TN)
    middle_TN, size_T = midranks(x_TN, counted_TN)
    size_T1 = np.maximum(size_T, 2)[:, None].astype(np.float64)
    if kind == "rank":
        # A member alone at its value stands half a step above those below it.
        middle_TN -= 0.5 * size_T1
        middle_TN *= np.sqrt(12.0 / (size_T1 * size_T1 - 1.0))
    else:
        # Outsiders beyond all members stand where the outermost member does.
        middle_TN = ndtri(np.clip(middle_TN, 0.5, size_T1 - 0.5) / size_T1)
    wanted_TN = np.isfinite(x_TN) & present_TN & (size_T >= 2)[:, None]
    out_TN: NDArray[np.float32] = np.where(wanted_TN, middle_TN, 0.0).astype(np.float32)
    return out_TN


def _zscore(x_TN: Float, counted_TN: Bool, present_TN: Bool) -> NDArray[np.float32]:
    known_TN = np.isfinite(x_TN)
    out_TN = np.zeros(x_TN.shape, dtype=np.float32)
    for x_N, counted_N, wanted_N, out_N in zip(
        x_TN, counted_TN & known_TN, present_TN & known_TN, out_TN, strict=True
    ):
        # Sorting makes the sums independent of who else is in the table.
        sorted_M = np.sort(x_N[counted_N])
        if len(sorted_M) < 2:
            continue
        spread = sorted_M.std()
        if spread > 1e-12 * np.abs(sorted_M).max():
            distance_V = (x_N[wanted_N] - sorted_M.mean()) / spread
            out_N[wanted_N] = np.clip(distance_V, -CLIP, CLIP)
    return out_TN
