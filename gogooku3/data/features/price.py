"""Returns over days past, overnight and within the day."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float
from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.rolling import rolling_mean, shift

FAMILY = "price"


def past_return(days: int) -> FeatureSpec:
    """The return of so many days."""
    return FeatureSpec(
        f"return_{days}",
        f"close / close[-{days}] - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.past_return(days),
        FAMILY,
    )


def momentum(days: int, skipped: int) -> FeatureSpec:
    """The return of so many days, the last ones left out (Jegadeesh and Titman 1993)."""
    return FeatureSpec(
        f"momentum_{days}_{skipped}",
        f"close[-{skipped}] / close[-{days}] - 1",
        days + 1 + STALE_DAYS,
        lambda q: shift(q.known_close_TN, skipped) / shift(q.known_close_TN, days) - 1.0,
        FAMILY,
    )


def efficiency(days: int) -> FeatureSpec:
    """How straight the way was (Kaufman's efficiency ratio), signed."""
    return FeatureSpec(
        f"efficiency_{days}",
        f"return_{days} / sum(|return_1|, {days})",
        days + RETURN_DAYS - 1,
        lambda q: q.past_return(days) / (days * rolling_mean(np.abs(q.return_1d_TN), days)),
        FAMILY,
    )


def overnight(days: int) -> FeatureSpec:
    """The mean return between close and open."""
    return FeatureSpec(
        f"overnight_{days}",
        f"mean(gap_1, {days})",
        days + RETURN_DAYS - 1,
        lambda q: rolling_mean(_gap(q), days),
        FAMILY,
    )


def intraday(days: int) -> FeatureSpec:
    """The mean return between open and close."""
    return FeatureSpec(
        f"intraday_{days}",
        f"mean(intraday_1, {days})",
        days,
        lambda q: rolling_mean(_intraday(q), days),
        FAMILY,
    )


def _gap(q: Quantities) -> Float:
    return q.open_TN / shift(q.known_close_TN, 1) - 1.0


def _intraday(q: Quantities) -> Float:
    return q.close_TN / q.open_TN - 1.0


def _acceleration(q: Quantities) -> Float:
    past_TN = q.past_return(10)
    return past_TN - shift(past_TN, 10)


FEATURES = (
    *(past_return(days) for days in (1, 2, 3, 5, 10, 20, 40, 60, 120)),
    momentum(60, 5),
    momentum(120, 20),
    FeatureSpec(
        "acceleration_20", "return_10 - return_10[-10]", 21 + STALE_DAYS, _acceleration, FAMILY
    ),
    efficiency(20),
    efficiency(60),
    FeatureSpec("gap_1", "open / close[-1] - 1", RETURN_DAYS, _gap, FAMILY),
    overnight(5),
    overnight(20),
    FeatureSpec("intraday_1", "close / open - 1", 1, _intraday, FAMILY),
    intraday(5),
    intraday(20),
)
