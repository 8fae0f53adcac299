"""Per-day normalisation of a feature over the day's universe.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Normalisation = Literal["rank", "zscore"]

CLIP = 5.0
"""z-scores are cut here."""


def normalise(
    x_TN: Float, counted_TN: NDArray[np.bool_], present_TN: NDArray[np.bool_], kind: Normalisation
) -> NDArray[np.float32]:
    """Place each day's values in the distribution of that day's counted stocks.

    `rank`: the average rank, scaled so that distinct ranks have mean 0 and variance 1; a stock
    outside the distribution gets the rank its value would have in it. `zscore`: distance from the
    mean in standard deviations, cut at 5. Unknown values, days with fewer than two known values and
    constant days are 0.
    """
    place = PLACES[kind]
    known_TN = np.isfinite(x_TN)
    out_TN = np.zeros(x_TN.shape, dtype=np.float32)
    for x_N, counted_N, wanted_N, out_N in zip(
        x_TN, counted_TN & known_TN, present_TN & known_TN, out_TN, strict=True
    ):
        reference_M = x_N[counted_N]
        if len(reference_M) >= 2:
            out_N[wanted_N] = place(x_N[wanted_N], reference_M)
    return out_TN


def place_by_rank(x_V: Float, reference_M: Float) -> Float:
    """Average rank of each value among the reference's, centred, of unit variance."""
    sorted_M = np.sort(reference_M)
    size = len(sorted_M)
    below_V = np.searchsorted(sorted_M, x_V, side="left")
    up_to_V = np.searchsorted(sorted_M, x_V, side="right")
    # A member alone at its value stands half a step above those below it.
    scale = 0.5 * sqrt(12.0 / (size * size - 1.0))
    return np.asarray((below_V + up_to_V - size) * scale)


def place_by_zscore(x_V: Float, reference_M: Float) -> Float:
    """Standard deviations from the reference's mean, cut at CLIP."""
    # Sorting makes the sums independent of who else is in the table.
    sorted_M = np.sort(reference_M)
    spread = sorted_M.std()
    if not spread > 1e-12 * np.abs(sorted_M).max():
        return np.zeros_like(x_V)
    return np.asarray(np.clip((x_V - sorted_M.mean()) / spread, -CLIP, CLIP))


PLACES: dict[Normalisation, Callable[[Float, Float], Float]] = {
    "rank": place_by_rank,
    "zscore": place_by_zscore,
}
