"""How far a stock's other features can be trusted."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float
from gogooku3.data.quantities import Quantities
from gogooku3.data.rolling import rolling_count, rolling_sum

FAMILY = "validity"


def _traded_share(q: Quantities) -> Float:
    traded_TN = np.where(q.volume_TN > 0, 1.0, 0.0)
    return rolling_sum(traded_TN, 60) / 60.0


FEATURES = (
    FeatureSpec(
        "traded_share_60",
        "share of the last 60 days on which it was traded",
        60,
        _traded_share,
        FAMILY,
        needs=frozenset({"volume"}),
    ),
    FeatureSpec(
        "history_120",
        "share of the last 120 days on which it has a row",
        120,
        lambda q: rolling_count(q.bars.close_TN, 120) / 120.0,
        FAMILY,
    ),
    FeatureSpec(
        "repaired_60",
        "number of the last 60 days with a move beyond 60 %, taken for an error in the data",
        60 + RETURN_DAYS - 1,
        lambda q: rolling_sum(q.extreme_TN.astype(np.float64), 60),
        FAMILY,
    ),
)
