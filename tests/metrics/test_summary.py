"""Daily series to named metrics, by hand and by scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from gogooku3.metrics import daily_series, summarise
from gogooku3.metrics.summary import OVER_HORIZONS, sharpe

HORIZONS = (1, 5)


def market(days: int = 80, stocks: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    shape = (days, stocks, len(HORIZONS))
    returns = torch.randn(shape, generator=generator) * 0.02
    score = 10 * returns + torch.randn(shape, generator=generator)
    return score, returns, torch.rand(shape, generator=generator) < 0.9


def test_means_and_ratios_are_over_days() -> None:
    score, returns, valid = market()
    metrics = summarise(daily_series(score, returns, valid, HORIZONS))
    for place, horizon in enumerate(HORIZONS):
        by_day = []
        for day in range(len(score)):
            known = valid[day, :, place]
            pair = (score[day, known, place].numpy(), returns[day, known, place].numpy())
            by_day.append(stats.spearmanr(*pair).statistic)
        assert metrics[f"rank_ic@{horizon}"] == pytest.approx(np.mean(by_day), abs=1e-9)
        ratio = np.mean(by_day) / np.std(by_day, ddof=1)
        assert metrics[f"rank_icir@{horizon}"] == pytest.approx(ratio, abs=1e-9)
        assert metrics[f"n_days@{horizon}"] == len(score)
        low, high = metrics[f"rank_ic_low@{horizon}"], metrics[f"rank_ic_high@{horizon}"]
        assert low is not None
        assert high is not None
        assert low < np.mean(by_day) < high


def test_horizon_weights_make_the_mean_over_horizons() -> None:
    series = daily_series(*market(), HORIZONS)
    metrics = summarise(series, {1: 3.0, 5: 1.0})
    for name in OVER_HORIZONS:
        one, five = metrics[f"{name}@1"], metrics[f"{name}@5"]
        assert one is not None
        assert five is not None
        assert metrics[name] == pytest.approx((3 * one + five) / 4)
    assert summarise(series, {1: 1.0, 5: 0.0})["rank_ic"] == metrics["rank_ic@1"]


def test_a_constant_score_scores_nothing() -> None:
    _, returns, valid = market()
    metrics = summarise(daily_series(torch.ones_like(returns), returns, valid, HORIZONS))
    for name in ("ic", "rank_ic", "icir", "rank_ic_t", "sharpe", "hit_rate", "turnover"):
        assert metrics[f"{name}@1"] is None
    assert metrics["rank_ic"] is None
    assert metrics["n_days@1"] == 0


def test_one_undefined_day_is_left_out() -> None:
    score, returns, valid = market()
    whole = daily_series(score, returns, valid, HORIZONS).of("rank_ic", 1)
    score[7] = 0.0
    rest = daily_series(score, returns, valid, HORIZONS).of("rank_ic", 1)
    assert torch.equal(rest, torch.cat([whole[:7], whole[8:]]))


def test_a_score_that_is_not_finite_is_an_error() -> None:
    score, returns, valid = market()
    score[3, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        daily_series(score, returns, valid | True, HORIZONS)


def test_costs_lower_the_net_sharpe_only() -> None:
    free = summarise(daily_series(*market(), HORIZONS, cost_bps=0.0))
    costly = summarise(daily_series(*market(), HORIZONS, cost_bps=50.0))
    assert free["sharpe@1"] == free["sharpe_net@1"] == costly["sharpe@1"]
    assert costly["sharpe_net@1"] is not None
    assert free["sharpe_net@1"] is not None
    assert costly["sharpe_net@1"] < free["sharpe_net@1"]


def test_sharpe_of_independent_days() -> None:
    returns = np.random.default_rng(0).normal(0.001, 0.01, size=500)
    expected = returns.mean() / returns.std(ddof=1) * np.sqrt(252)
    assert sharpe(returns, 1) == pytest.approx(expected)


def test_sharpe_without_variation_in_any_series_is_undefined() -> None:
    assert sharpe(np.array([1.0, 2.0] * 5), 2) is None


def test_sharpe_of_overlapping_returns_is_that_of_the_days_they_hold() -> None:
    daily = np.random.default_rng(0).normal(0.001, 0.01, size=20_000)
    sums = np.concatenate([[0.0], np.cumsum(daily)])
    overlapping = sums[10:] - sums[:-10]
    found, expected = sharpe(overlapping, 10), sharpe(daily, 1)
    assert found is not None
    assert expected is not None
    assert found == pytest.approx(expected, rel=0.05)


def test_the_hit_rate_is_told_over_the_days_own_base_rate() -> None:
    score, returns, valid = market()
    metrics = summarise(daily_series(score, returns, valid, HORIZONS))
    for place, horizon in enumerate(HORIZONS):
        over = []
        for day in range(len(score)):
            known = valid[day, :, place].numpy()
            day_score, day_return = (x[day, :, place].numpy() for x in (score, returns))
            scored = valid[day].any(-1).numpy()  # the leg is chosen among all that have a score
            leg = np.argsort(np.where(scored, day_score, -np.inf))[-(scored.sum() // 10) :]
            leg = leg[known[leg]]
            over.append((day_return[leg] > 0).mean() - (day_return[known] > 0).mean())
        assert metrics[f"hit_over_base@{horizon}"] == pytest.approx(np.mean(over))
        ic_low, ic_high = metrics[f"ic_low@{horizon}"], metrics[f"ic_high@{horizon}"]
        ic = metrics[f"ic@{horizon}"]
        assert ic is not None
        assert ic_low is not None
        assert ic_high is not None
        assert ic_low < ic < ic_high
