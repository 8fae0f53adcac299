"""Correlations against scipy; a constant or a tiny day is undefined."""

import numpy as np
import pytest
import torch
from scipy import stats

from gogooku3.metrics.correlation import MIN_STOCKS, pearson, rank_correlation


@pytest.fixture
def days() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 50, generator=generator).mul(2).round()
    y = x + 3 * torch.randn(6, 50, generator=generator)
    return x, y, torch.rand(6, 50, generator=generator) < 0.8


def test_both_correlations_equal_scipy(
    days: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    x, y, valid = days
    y_unknown = y.masked_fill(~valid, torch.nan)
    linear, rank = pearson(x, y_unknown, valid), rank_correlation(x, y_unknown, valid)
    for day in range(len(x)):
        a, b = x[day, valid[day]].double().numpy(), y[day, valid[day]].double().numpy()
        assert linear[day].item() == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)
        assert rank[day].item() == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_is_undefined_not_zero(value: float) -> None:
    x = torch.full((1, 30), value)
    y = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones(1, 30, dtype=torch.bool)
    for correlation in (pearson, rank_correlation):
        assert correlation(x, y, everywhere).isnan().all()
        assert correlation(y, x, everywhere).isnan().all()


def test_too_few_stocks_are_undefined() -> None:
    x = torch.arange(20.0).unsqueeze(0)
    enough = torch.arange(20).unsqueeze(0) < MIN_STOCKS
    assert rank_correlation(x, x, enough).item() == pytest.approx(1.0)
    assert rank_correlation(x, x, torch.arange(20).unsqueeze(0) < MIN_STOCKS - 1).isnan().all()


def test_large_common_values_keep_their_precision() -> None:
    x = np.linspace(0, 1, 100)
    y = np.random.default_rng(0).normal(size=100)
    shifted = torch.from_numpy(x + 1e6).unsqueeze(0)
    value = pearson(shifted, torch.from_numpy(y).unsqueeze(0), torch.ones(1, 100).bool())
    assert value.item() == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-8)
