"""Intervals and t statistics: their size under the null, and known special cases."""

import numpy as np
import pytest
from scipy import stats

from gogooku3.metrics import block_bootstrap, newey_west_t


def overlapping(rng: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """Sums of `horizon` consecutive independent draws: the shape of overlapping returns."""
    sums = np.cumsum(np.concatenate([[0.0], rng.normal(size=count + horizon)]))
    return sums[horizon : horizon + count] - sums[:count]


def test_newey_west_is_near_the_plain_t_on_independent_days() -> None:
    series = np.random.default_rng(0).normal(0.1, 1.0, size=2000)
    plain = stats.ttest_1samp(series, 0).statistic
    assert newey_west_t(series) == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize("horizon", [5, 20])
def test_newey_west_corrects_for_overlap(horizon: int) -> None:
    rng = np.random.default_rng(horizon)
    draws = [overlapping(rng, 400, horizon) for _ in range(400)]
    corrected = np.std([newey_west_t(draw, horizon) for draw in draws])
    naive = np.std([stats.ttest_1samp(draw, 0).statistic for draw in draws])
    assert naive > 1.8  # what the correction is for
    assert 0.9 < corrected < 1.45


def test_newey_west_against_the_formula() -> None:
    series = np.array([1.0, 2.0, 0.0, 1.5, 0.5, 2.5, 1.0, 0.0, 2.0, 1.0])
    centred = series - series.mean()
    # 10 days: lag int(4 * 0.1^(2/9)) = 2, Bartlett weights 2/3 and 1/3.
    gamma = [float(centred[lag:] @ centred[: 10 - lag]) / 10 for lag in range(3)]
    variance = gamma[0] + 2 * (2 / 3 * gamma[1] + 1 / 3 * gamma[2])
    assert newey_west_t(series) == pytest.approx(series.mean() / np.sqrt(variance / 10))


def test_the_bootstrap_covers_the_mean() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        series = overlapping(rng, 400, 5) + 1.0
        interval = block_bootstrap(series, 5, draws=300)
        assert interval is not None
        covered += interval.low <= 1.0 <= interval.high
    assert 0.85 < covered / 200 <= 0.99


def test_the_bootstrap_depends_on_nothing_but_the_series() -> None:
    series = np.random.default_rng(0).normal(size=100)
    assert block_bootstrap(series, 1) == block_bootstrap(series.copy(), 1)
    interval = block_bootstrap(series, 1)
    assert interval is not None
    assert interval.low < series.mean() < interval.high


def test_too_short_a_series_is_undefined() -> None:
    assert newey_west_t(np.array([1.0, 2.0])) is None
    assert newey_west_t(np.ones(50)) is None
    assert block_bootstrap(np.arange(30.0), 20) is None


def test_the_bootstrap_against_resampling_block_by_block() -> None:
    """The same draws, put together the long way: each resample concatenated and averaged."""
    series = np.random.default_rng(5).normal(0.2, 1.0, size=103)
    horizon, draws = 5, 200
    length = max(2 * horizon, int(np.ceil(103 ** (1 / 3))))
    count = -(-103 // length)
    starts = np.random.default_rng(0).integers(0, 103 - length + 1, size=(draws, count))
    means = [
        np.concatenate([series[at : at + length] for at in row])[:103].mean() for row in starts
    ]
    interval = block_bootstrap(series, horizon, draws=draws)
    assert interval is not None
    low, high = np.quantile(means, [0.025, 0.975])
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_newey_west_against_a_regression_on_a_constant() -> None:
    """HAC covariance of least squares on ones, by the sandwich with full matrices."""
    series = np.random.default_rng(6).normal(0.1, 1.0, size=300).cumsum() * 0.01
    horizon, n = 10, 300
    lag = max(2 * (horizon - 1), int(4 * (n / 100) ** (2 / 9)))
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    kernel = np.clip(1 - distance / (lag + 1), 0, None)
    residual = series - series.mean()
    variance = residual @ kernel @ residual / n**2
    assert newey_west_t(series, horizon) == pytest.approx(series.mean() / np.sqrt(variance))
