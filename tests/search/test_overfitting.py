"""Deflated Sharpe ratio and probability of overfitting against the papers' own numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gogooku3.search import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    probabilistic_sharpe_ratio,
    probability_of_overfitting,
)
from gogooku3.search.overfitting import independent_trials
from gogooku3.search.seeds import seed_noise


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"),
    [
        (100, -3.0, 10.0, 0.9004),  # the paper's example: not significant at 95 %
        (46, -3.0, 10.0, 0.9505),  # with fewer trials it would have been
        (88, 0.0, 3.0, 0.9505),  # or with normal returns
    ],
)
def test_deflated_sharpe_ratio_of_the_papers_example(
    trials: int, skewness: float, kurtosis: float, expected: float
) -> None:
    # Annualised Sharpe 2.5 over five years of 250 days; the variance of the trials' is 1/2.
    threshold = expected_maximum_sharpe(trials, math.sqrt(0.5 / 250))
    found = probabilistic_sharpe_ratio(2.5 / math.sqrt(250), threshold, 1250, skewness, kurtosis)
    assert found == pytest.approx(expected, abs=5e-4)
    if trials == 100:
        assert threshold == pytest.approx(0.1132, abs=5e-5)


def test_expected_maximum_agrees_with_simulation() -> None:
    # "Pseudo-Mathematics and Financial Charlatanism": ten trials without skill give 1.57.
    assert expected_maximum_sharpe(10, 1.0) == pytest.approx(1.57, abs=0.01)
    drawn = np.random.default_rng(0).standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 1.0) == pytest.approx(drawn, abs=0.03)
    assert expected_maximum_sharpe(1, 1.0) == 0.0


def test_deflated_ratio_of_series_equals_the_formula() -> None:
    returns = np.random.default_rng(1).normal(0.1, 1.0, 500)
    found = deflated_sharpe_ratio(returns, trials=20, sharpe_std=0.05)
    centred = returns - returns.mean()
    deviation = math.sqrt((centred**2).mean())
    expected = probabilistic_sharpe_ratio(
        returns.mean() / returns.std(ddof=1),
        expected_maximum_sharpe(20, 0.05),
        500,
        float((centred**3).mean() / deviation**3),
        float((centred**4).mean() / deviation**4),
    )
    assert found == pytest.approx(expected, abs=1e-9)
    assert deflated_sharpe_ratio(np.ones(10), trials=2, sharpe_std=0.1) is None
    # Five-day returns that start every day are worth a fifth of the days.
    fewer = deflated_sharpe_ratio(returns, trials=20, sharpe_std=0.0, periods=100)
    assert fewer is not None
    assert fewer < (deflated_sharpe_ratio(returns, trials=20, sharpe_std=0.0) or 0)


def plain_cscv(series: np.ndarray, blocks: int) -> float:
    """The definition, word by word."""
    parts = np.split(series, blocks)
    logits = []
    for half in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[s] for s in half])
        outside = np.concatenate([parts[s] for s in range(blocks) if s not in half])
        best = int(np.argmax(inside.mean(0) / inside.std(0, ddof=1)))
        score = outside.mean(0) / outside.std(0, ddof=1)
        rank = 1 + int((score < score[best]).sum())
        share = rank / (series.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return float(np.mean(np.array(logits) <= 0))


@pytest.mark.parametrize("seed", range(4))
def test_cscv_equals_its_definition(seed: int) -> None:
    series = np.random.default_rng(seed).normal(0.05 * seed, 1.0, (80, 7))
    found = probability_of_overfitting(series, blocks=8)
    assert found == pytest.approx(plain_cscv(series, 8), abs=1e-12)


def test_cscv_knows_noise_skill_and_overfitting() -> None:
    rng = np.random.default_rng(3)
    noise = [probability_of_overfitting(rng.normal(size=(200, 20)), blocks=8) for _ in range(40)]
    assert np.mean([value for value in noise if value is not None]) == pytest.approx(0.5, abs=0.1)
    skilled = rng.normal(size=(400, 20))
    skilled[:, 7] += 0.8
    assert probability_of_overfitting(skilled) == 0.0
    # Whatever is gained on one half is lost on the other: all columns sum to zero.
    losing = rng.normal(size=(160, 10))
    losing -= losing.mean(axis=0)
    assert (probability_of_overfitting(losing, statistic="mean") or 0) > 0.95
    assert probability_of_overfitting(losing[:, :1]) is None
    assert probability_of_overfitting(losing[:6]) is None


def test_correlated_trials_are_worth_fewer() -> None:
    rng = np.random.default_rng(4)
    apart = rng.normal(size=(5000, 10))
    assert independent_trials(apart) == pytest.approx(10, abs=0.3)
    alike = apart[:, :1] + 0.1 * apart
    assert independent_trials(alike) < 1.2


def test_seed_noise_is_told_from_effect() -> None:
    rng = np.random.default_rng(5)
    levels = rng.normal(0.0, 2.0, 200)
    found = seed_noise([list(level + rng.normal(0.0, 1.0, 5)) for level in levels])
    assert found is not None
    assert found.seed_std == pytest.approx(1.0, abs=0.06)
    assert found.effect_std == pytest.approx(2.0, abs=0.25)
    assert found.effect_share == pytest.approx(0.8, abs=0.05)
    assert found.p is not None
    assert found.p < 1e-6
    none = seed_noise([list(rng.normal(size=5)) for _ in range(50)])
    assert none is not None
    assert none.effect_share < 0.2
    assert none.p is not None
    assert none.p > 0.01
    assert seed_noise([[1.0], [2.0]]) is None
