"""Whether the scores of one stretch of days are spread as those of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 10
LEAST_SHARE = 1e-4
"""An empty bin counts as this share: its logarithm must exist."""

Scores = NDArray[np.floating]


def population_stability(reference: Scores, current: Scores, bins: int = BINS) -> float | None:
    """Population stability index: sum over bins of (q - p) log(q / p).

    The bins are the quantiles of the reference's scores, p and q the shares of the reference and of
    the current ones. Below 0.1 is usually read as stable, above 0.25 as shifted. None when either
    side is empty or the reference constant.
    """
    if not len(reference) or not len(current) or np.ptp(reference) == 0:
        return None
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for scores in (reference, current):
        counts = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
        share = np.maximum(counts / len(scores), LEAST_SHARE)
        shares.append(share / share.sum())
    expected, found = shares
    return float(((found - expected) * np.log(found / expected)).sum())
