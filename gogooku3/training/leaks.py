"""The leak guard: what would make every figure worthless is looked for before the first epoch.

Shapes: D days, N stocks, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gogooku3.config import DataConfig
from gogooku3.data.panel import Panel
from gogooku3.data.splits import Split
from gogooku3.errors import LeakError
from gogooku3.metrics.correlation import pearson
from gogooku3.metrics.ranks import average_ranks
from gogooku3.training.evaluation import spread

MOST = 0.9
"""No feature that is known on day t tells that much of what happens after it."""
SAMPLE_DAYS = 32
"""Days on which the correlations are taken, evenly spread over the training days."""
LEAST_DAYS = 5
"""Fewer days with a correlation are an accident, not an alarm."""


def guard(panel: Panel, split: Split, data: DataConfig) -> None:
    """Look for leaks from the future into training.

    1. Purge and embargo: from each training day to the nearest validation or test day there are
       more than the longest horizon, and after or before it `embargo_days` more.
    2. No feature's mean correlation (Pearson or Spearman, over the day's stocks) with a forward
       return exceeds 0.9 in absolute value: such a feature holds the label.

    Raises LeakError naming the days or the feature.
    """
    _check_distance(panel, split, data)
    _check_features(panel, spread(split.train_D, SAMPLE_DAYS), data)


def _check_distance(panel: Panel, split: Split, data: DataConfig) -> None:
    longest, embargo = max(data.horizons), data.split.embargo_days
    held = torch.tensor(sorted((*split.valid_D, *split.test_D)))
    train = torch.tensor(split.train_D)
    after = torch.searchsorted(held, train)
    before = held[(after - 1).clamp(min=0)]
    following = held[after.clamp(max=len(held) - 1)]
    # A label of day t reads up to t + h: a training day's must end before the held-out days begin,
    # and a held-out day's before training goes on. One of the two sides has the embargo as well.
    early = (after < len(held)) & (following - train <= longest)
    late = (after > 0) & (train - before <= longest + embargo)
    for close in (early, late):
        if close.any():
            day = panel.calendar[int(train[close][0])]
            raise LeakError(
                f"training day {day} lies within {longest} days (purge) of a held-out day, or "
                f"within {embargo} more (embargo) after one: labels of the two parts overlap"
            )


def _check_features(panel: Panel, days: Sequence[int], data: DataConfig) -> None:
    names = data.features or panel.header.feature_names
    columns, horizons = panel.columns_of(names), panel.horizons_of(data.horizons)
    found = torch.stack([_correlations(panel, day, columns, horizons) for day in days])
    known_FK2 = found.isfinite().sum(0)
    mean_FK2 = found.nanmean(0).nan_to_num(0.0)
    alarm_FK2 = (mean_FK2.abs() > MOST) & (known_FK2 >= LEAST_DAYS)
    if alarm_FK2.any():
        feature, horizon, kind = (int(place) for place in alarm_FK2.nonzero()[0])
        raise LeakError(
            f"feature {names[feature]!r} has a mean {('Pearson', 'rank')[kind]} correlation of "
            f"{float(mean_FK2[feature, horizon, kind]):.3f} with the return of the next "
            f"{data.horizons[horizon]} days on {int(known_FK2[feature, horizon, kind])} training "
            f"days: it knows the future. Leave it out of the dataset, or of data.features"
        )


def _correlations(
    panel: Panel, day: int, columns: Sequence[int], horizons: Sequence[int]
) -> Tensor:
    """Pearson and rank correlation of every feature with every horizon on a day: [F, K, 2]."""
    row_N = panel.row_of_TN[day, panel.scored_stocks(day)].long()
    x_FN = panel.features_RF[row_N][:, list(columns)].float().T.contiguous()
    usable_FN = x_FN.isfinite()
    x_FN = x_FN.masked_fill(~usable_FN, 0.0)
    # Ranked once for all horizons: that a few of the ranked returns are unknown changes little.
    rank_FN = average_ranks(x_FN, usable_FN)
    kinds = []
    for horizon in horizons:
        return_1N = panel.targets_RK[row_N, horizon].unsqueeze(0)
        known_1N = return_1N.isfinite()
        return_1N = return_1N.nan_to_num(0.0)
        rank_1N = average_ranks(return_1N, known_1N)
        valid_FN = usable_FN & known_1N
        pair = [
            pearson(x_FN, return_1N.expand_as(x_FN), valid_FN),
            pearson(rank_FN, rank_1N.expand_as(rank_FN), valid_FN),
        ]
        kinds.append(torch.stack(pair, dim=-1))
    return torch.stack(kinds, dim=1)
