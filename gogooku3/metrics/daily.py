"""The daily series behind every metric. Shapes: B days, N stocks, K horizons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gogooku3.metrics.correlation import pearson, rank_correlation
from gogooku3.metrics.portfolio import decile_portfolio

SERIES = (
    "ic",
    "rank_ic",
    "long_short",
    "long_short_net",
    "turnover",
    "hit_rate",
    "base_rate",
    "stocks",
)
"""Names of the daily series, in the order of `DailySeries.values`."""


@dataclass(frozen=True)
class DailySeries:
    """One value a day and horizon for each name of `SERIES`."""

    horizons: tuple[int, ...]
    values: dict[str, Tensor]
    """float64 [B, K] on the CPU; NaN = undefined on that day."""

    @property
    def days(self) -> int:
        """Number of days, those with undefined values included."""
        return int(self.values["ic"].shape[0])

    def of(self, name: str, horizon: int) -> Tensor:
        """The defined values of one series, in the order of the days."""
        series_B = self.values[name][:, self.horizons.index(horizon)]
        return series_B[~series_B.isnan()]


def daily_series(
    score_BNK: Tensor,
    return_BNK: Tensor,
    valid_BNK: Tensor,
    horizons: Sequence[int],
    *,
    scored_BN: Tensor | None = None,
    cost_bps: float = 0.0,
) -> DailySeries:
    """Score against forward return on consecutive trading days, on the full cross-section.

    Args:
        score_BNK: finite where there is a score. The stock axis is the same on every day.
        return_BNK: forward returns, raw; ignored where not valid.
        valid_BNK: bool, the forward return is known.
        horizons: K days.
        scored_BN: bool, where there is a score; None = wherever any return is known.
        cost_bps: one-way cost of trading, for `long_short_net`.

    Raises:
        ValueError: a score that counts is NaN or infinite.
    """
    if scored_BN is None:
        scored_BN = valid_BNK.any(dim=-1)
    valid_BNK = valid_BNK & scored_BN.unsqueeze(-1)
    if not bool(score_BNK[scored_BN].isfinite().all()):
        raise ValueError("a score is NaN or infinite")
    columns: dict[str, list[Tensor]] = {name: [] for name in SERIES}
    for place, horizon in enumerate(horizons):
        score_BN, return_BN = score_BNK[..., place], return_BNK[..., place]
        valid_BN = valid_BNK[..., place]
        book = decile_portfolio(
            score_BN, scored_BN, return_BN, valid_BN, horizon=horizon, cost_bps=cost_bps
        )
        found = (
            pearson(score_BN, return_BN, valid_BN),
            rank_correlation(score_BN, return_BN, valid_BN),
            book.gross_D,
            book.net_D,
            book.turnover_D,
            book.hit_rate_D,
            book.base_rate_D,
            valid_BN.sum(dim=-1).double(),
        )
        for name, value_B in zip(SERIES, found, strict=True):
            columns[name].append(value_B)
    values = {name: torch.stack(column, dim=-1).cpu() for name, column in columns.items()}
    return DailySeries(tuple(horizons), values)
