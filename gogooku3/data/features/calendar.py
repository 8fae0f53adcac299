"""What the date says: the same value for every stock, known before the day begins."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.market import Daily
from gogooku3.data.features.spec import FeatureSpec, Float
from gogooku3.data.quantities import Quantities

FAMILY = "calendar"


def _weekday(q: Quantities) -> Float:
    return _spread(q, np.asarray([day.weekday() for day in q.bars.calendar], dtype=np.float64))


def _day_of_month(q: Quantities) -> Float:
    return _spread(q, np.asarray([day.day for day in q.bars.calendar], dtype=np.float64))


def _days_closed(q: Quantities) -> Float:
    ordinal_T = np.asarray([day.toordinal() for day in q.bars.calendar], dtype=np.float64)
    return _spread(q, np.append(np.nan, np.diff(ordinal_T) - 1.0))


def _spread(q: Quantities, value_T: Daily) -> Float:
    return np.broadcast_to(value_T[:, None], q.present_TN.shape)


FEATURES = (
    FeatureSpec("weekday", "0 = Monday ... 4 = Friday", 1, _weekday, FAMILY, "market"),
    FeatureSpec("day_of_month", "1 ... 31", 1, _day_of_month, FAMILY, "market"),
    FeatureSpec(
        "days_closed",
        "days without a market since the last one, such as 2 on a Monday",
        2,
        _days_closed,
        FAMILY,
        "market",
    ),
)
