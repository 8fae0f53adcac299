"""Market features: stored raw, scaled by what the training days alone tell.

A `market` feature has the same value for every stock of a day, so that there is nothing to place it
in on that day; its scale comes from other days, and these must be training days only.

Shapes: T market days, M market features among those in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gogooku3.data.panel import Panel
from gogooku3.errors import DatasetMismatchError

CLIP = 5.0
"""Scaled values are cut here."""


@dataclass(frozen=True)
class MarketScaling:
    """Mean and standard deviation of each market feature, one value a day."""

    mean_std: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, panel: Panel, features: Sequence[str], days: Sequence[int]) -> MarketScaling:
        """The scaling of the market features among `features` on some days of the panel.

        A feature that is constant or unknown on these days has a deviation of 0.
        """
        names = market_features(panel, features)
        value_DM = _daily(panel, names)[list(days)].double()
        found = {}
        for name, value_D in zip(names, value_DM.T, strict=True):
            known_D = value_D[torch.isfinite(value_D)]
            if not len(known_D):
                found[name] = (0.0, 0.0)
                continue
            deviation = float(known_D.std(correction=0))
            is_constant = deviation <= 1e-9 * float(known_D.abs().max())
            found[name] = (float(known_D.mean()), 0.0 if is_constant else deviation)
        return cls(found)

    def scaled(self, panel: Panel, features: Sequence[str]) -> Tensor:
        """scaled_TM, float32: (value - mean) / deviation of the market features among `features`,
        cut at 5; 0 where unknown or the deviation is 0.

        Raises DatasetMismatchError when a market feature of the panel has no scaling, or one that
        has is no market feature there.
        """
        names = market_features(panel, features)
        strange = set(names) ^ (set(self.mean_std) & set(features))
        if strange:
            raise DatasetMismatchError(
                f"dataset {panel.header.name!r} and the model disagree on which features are the "
                f"whole market's: {', '.join(sorted(strange))}"
            )
        value_TM = _daily(panel, names).double()
        mean_M = torch.tensor([self.mean_std[name][0] for name in names], dtype=torch.float64)
        deviation_M = torch.tensor([self.mean_std[name][1] for name in names], dtype=torch.float64)
        is_constant_M = deviation_M == 0.0
        scaled_TM = (value_TM - mean_M) / deviation_M.masked_fill(is_constant_M, 1.0)
        scaled_TM.masked_fill_(is_constant_M | ~torch.isfinite(value_TM), 0.0)
        return scaled_TM.clamp_(-CLIP, CLIP).float()


def market_features(panel: Panel, features: Sequence[str]) -> list[str]:
    """Those of `features` whose role is `market`, in the order given."""
    roles = {feature.name: feature.role for feature in panel.header.features}
    return [name for name in features if roles[name] == "market"]


def _daily(panel: Panel, names: Sequence[str]) -> Tensor:
    """value_TM of each day as any of its rows has it; NaN on days without rows."""
    row_T = panel.row_of_TN.max(dim=1).values.long()
    value_TM = panel.features_RF[row_T.clamp(min=0)][:, panel.columns_of(names)].float()
    value_TM[row_T < 0] = torch.nan
    return value_TM
