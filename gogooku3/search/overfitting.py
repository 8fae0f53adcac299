"""How much of a best trial is luck: deflated Sharpe ratio and probability of overfitting.

Shapes: T days, N trials, S blocks of days, C ways to choose half of the blocks.

Bailey, Lopez de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5).
Bailey, Borwein, Lopez de Prado, Zhu (2017), The Probability of Backtest Overfitting, Journal of
Computational Finance 20(4), first published in 2015.

Beside the metrics of `gogooku3.metrics`, but without torch: the server works these out.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import kurtosis, skew

Array = npt.NDArray[np.float64]
EULER = 0.5772156649015329
FEWEST_DAYS = 4
"""Days a block must have."""
WAYS_AT_ONCE = 256


def expected_maximum_sharpe(trials: float, sharpe_std: float) -> float:
    """Largest Sharpe ratio to expect among so many trials without any skill.

    std · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ being Euler's constant; 0 for one trial.
    `sharpe_std`: standard deviation of the trials' Sharpe ratios, in the same units as the answer.
    """
    if trials <= 1:
        return 0.0
    first, second = ndtri(1 - 1 / trials), ndtri(1 - 1 / (trials * math.e))
    return float(sharpe_std * ((1 - EULER) * first + EULER * second))


def probabilistic_sharpe_ratio(
    sharpe: float, threshold: float, days: float, skewness: float, kurtosis: float
) -> float:
    """Probability that the true Sharpe ratio is above `threshold`, given one that was measured.

    Φ((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 · SR²)). Both ratios are per period, not
    annualised; `days` is the number of periods, `kurtosis` 3 for a normal distribution.
    """
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(ndtr((sharpe - threshold) * math.sqrt(days - 1) / math.sqrt(variance)))


def deflated_sharpe_ratio(
    returns_T: Array, *, trials: float, sharpe_std: float, periods: float | None = None
) -> float | None:
    """Probability that the best of `trials` has skill at all: the probabilistic Sharpe ratio
    against the largest that luck alone would have given. None without variation.

    Args:
        returns_T: of the best trial, one a period; NaN where undefined.
        trials: N, all that were tried, or as many independent ones as they are worth.
        sharpe_std: standard deviation of the trials' Sharpe ratios per period.
        periods: independent periods, when returns overlap; None = all of them.
    """
    returns_T = returns_T[np.isfinite(returns_T)]
    count = float(len(returns_T)) if periods is None else periods
    if count < 3 or len(returns_T) < 3 or np.ptp(returns_T) == 0:
        return None
    sharpe = float(returns_T.mean() / returns_T.std(ddof=1))
    threshold = expected_maximum_sharpe(trials, sharpe_std)
    shape = float(skew(returns_T)), float(kurtosis(returns_T, fisher=False))
    return probabilistic_sharpe_ratio(sharpe, threshold, count, *shape)


def independent_trials(series_TN: Array) -> float:
    """As many independent trials as N correlated ones are worth: ρ + (1 − ρ) N, ρ being the mean
    correlation of their series (Bailey, Lopez de Prado 2014, appendix 3)."""
    count = series_TN.shape[1]
    if count < 2:
        return float(count)
    varying_TN = series_TN[:, series_TN.std(axis=0) > 0]
    if varying_TN.shape[1] < 2:
        return 1.0
    correlation_NN = np.atleast_2d(np.corrcoef(varying_TN, rowvar=False))
    varying = varying_TN.shape[1]
    among = float(correlation_NN.sum() - varying) / (varying * (varying - 1))
    mean = min(max(among, 0.0), 1.0)
    return float(mean + (1 - mean) * count)


def probability_of_overfitting(
    series_TN: Array,
    *,
    blocks: int = 16,
    statistic: Literal["mean", "sharpe"] = "sharpe",
) -> float | None:
    """Probability that the trial which is best on one half of the days is below the median on the
    other: combinatorially symmetric cross-validation (CSCV).

    The days are cut into S blocks; for each of the C = S! / (S/2)!² ways to choose half of them,
    the trial with the best statistic there is ranked by the statistic of the other half. With w =
    rank / (N + 1), the answer is the share of ways in which log(w / (1 − w)) <= 0.

    Args:
        series_TN: days x trials, on the same days; days with a NaN are left out.
        blocks: S, even; fewer are taken when the days do not suffice.
        statistic: of a series on a set of days, larger = better.

    Returns None with fewer than 2 trials, or too few days for two blocks.
    """
    series_TN = series_TN[np.isfinite(series_TN).all(axis=1)]
    days, trials = series_TN.shape
    blocks = min(blocks, days // FEWEST_DAYS) // 2 * 2
    if trials < 2 or blocks < 2:
        return None
    # All blocks are of one size: the first days of what does not divide are left out.
    size = days // blocks
    blocks_SDN = series_TN[days - size * blocks :].reshape(blocks, size, trials)
    sum_SN, square_SN = blocks_SDN.sum(axis=1), (blocks_SDN**2).sum(axis=1)
    chosen_CS = np.array(
        [
            [block in half for block in range(blocks)]
            for half in itertools.combinations(range(blocks), blocks // 2)
        ],
        dtype=np.float64,
    )
    count = size * blocks // 2
    below = 0.0
    # Piece by piece: all ways at once, of thousands of trials, would not fit into the memory.
    for half_CS in np.array_split(chosen_CS, max(1, len(chosen_CS) // WAYS_AT_ONCE)):
        rest_CS = 1 - half_CS
        inside_CN = _statistic(half_CS @ sum_SN, half_CS @ square_SN, count, statistic)
        outside_CN = _statistic(rest_CS @ sum_SN, rest_CS @ square_SN, count, statistic)
        best_C1 = inside_CN.argmax(axis=1)[:, np.newaxis]
        own_C1 = np.take_along_axis(outside_CN, best_C1, axis=1)
        equal_C = (outside_CN == own_C1).sum(axis=1)
        rank_C = (outside_CN < own_C1).sum(axis=1) + (equal_C + 1) / 2
        # log(w / (1 - w)) <= 0 says no more than w <= 1/2.
        below += float((rank_C / (trials + 1) <= 0.5).sum())
    return below / len(chosen_CS)


def _statistic(
    sum_CN: Array, square_CN: Array, count: int, statistic: Literal["mean", "sharpe"]
) -> Array:
    mean_CN = sum_CN / count
    if statistic == "mean":
        return mean_CN
    variance_CN = np.maximum((square_CN / count - mean_CN**2) * count / (count - 1), 0.0)
    flat_CN = variance_CN < 1e-18
    ratio_CN: Array = mean_CN / np.sqrt(np.where(flat_CN, 1.0, variance_CN))
    return np.where(flat_CN, 0.0, ratio_CN)
