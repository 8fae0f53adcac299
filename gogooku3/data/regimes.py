"""The market's state on each day, from returns up to that day only.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import RegimeConfig
from gogooku3.data.panel import Panel
from gogooku3.data.splits import Split
from gogooku3.errors import ConfigError

REGIMES = ("calm_dispersed", "calm_joint", "volatile_dispersed", "volatile_joint")
"""Names of the regimes, in the order of their numbers."""


def regimes(panel: Panel, config: RegimeConfig) -> Tensor:
    """int64 [T]: each day's regime, a position in `REGIMES`.

    Volatility is the root mean square of the universe's mean return over the window. The average
    correlation is that square over the mean square of the stocks' own returns: 1 when all move as
    one, 1 / N when none do. A value is high when it is above the median of its own past, the day
    included; without one (the first days) it is not.
    """
    market_T, stock_T = _squares(panel)
    market_T = _trailing_mean(market_T, config.window)
    correlation_T = market_T / _trailing_mean(stock_T, config.window)
    is_volatile_T = _above_own_median(market_T.sqrt(), config.history)
    is_joint_T = _above_own_median(correlation_T, config.history)
    return 2 * is_volatile_T.long() + is_joint_T.long()


def day_weights(panel: Panel, config: RegimeConfig, split: Split) -> Tensor:
    """float32 [T]: the weights of the days' regimes, 1 in the mean of the training days.

    Raises ConfigError when no training day is in a regime that has a weight.
    """
    regime_T = regimes(panel, config)
    weight_T = torch.tensor(config.weights)[regime_T]
    train_D = list(split.train_D)
    mean = weight_T[train_D].mean()
    if not mean > 0:
        seen = ", ".join(REGIMES[place] for place in regime_T[train_D].unique().tolist())
        raise ConfigError(
            f"loss.regime gives weight 0 to all {len(train_D)} training days, which are {seen}"
        )
    return weight_T / mean


def _squares(panel: Panel) -> tuple[Tensor, Tensor]:
    """float64 [T] each: square of the universe's mean return, and mean square of its returns; NaN
    on a day without any."""
    market_T = torch.full((len(panel.calendar),), torch.nan, dtype=torch.float64)
    stock_T = market_T.clone()
    for day in range(len(panel.calendar)):
        row_N = panel.row_of_TN[day, panel.scored_stocks(day)].long()
        return_N = panel.return_R[row_N].double()
        known_N = return_N[return_N.isfinite()]
        if len(known_N):
            market_T[day] = known_N.mean().square()
            stock_T[day] = known_N.square().mean()
    return market_T, stock_T


def _trailing_mean(value_T: Tensor, window: int) -> Tensor:
    """Mean of the known values among the last `window`; NaN where fewer than `window` days are
    behind or none is known."""
    mean_T = torch.full_like(value_T, torch.nan)
    if len(value_T) >= window:
        mean_T[window - 1 :] = value_T.unfold(0, window, 1).nanmean(dim=1)
    return mean_T


def _above_own_median(value_T: Tensor, history: int) -> Tensor:
    """bool [T]: above the median of the known values among the last `history`, itself included."""
    padded = torch.nn.functional.pad(value_T, (history - 1, 0), value=torch.nan)
    median_T = padded.unfold(0, history, 1).nanmedian(dim=1).values
    return value_T > median_T
