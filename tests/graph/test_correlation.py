"""Weighted correlations against numpy's, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gogooku3.graph.correlation import mean_correlation, shrunk_correlation, standardise


@pytest.fixture
def return_WN() -> torch.Tensor:
    rng = np.random.default_rng(0)
    common_W1 = rng.normal(size=(60, 1))
    return torch.tensor(0.02 * (common_W1 + rng.normal(size=(60, 12))), dtype=torch.float32)


def weighted(x_W: np.ndarray, y_W: np.ndarray, weight_W: np.ndarray) -> float:
    cov = np.cov(np.stack([x_W, y_W]), aweights=weight_W)
    return float(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]))


@pytest.mark.parametrize("halflife", [5.0, 20.0, 1e9])
def test_correlation_is_that_of_numpy(return_WN: torch.Tensor, halflife: float) -> None:
    z_WN, volatility_N, known_N = standardise(return_WN, halflife)
    everyone = torch.arange(12)
    found_NN = shrunk_correlation(z_WN, known_N, everyone, 0.0)
    weight_W = 0.5 ** (np.arange(59, -1, -1) / halflife)
    x_WN = return_WN.double().numpy()
    for i in range(12):
        for j in range(12):
            wanted = weighted(x_WN[:, i], x_WN[:, j], weight_W)
            assert float(found_NN[i, j]) == pytest.approx(wanted, abs=1e-5)
        variance = np.cov(x_WN[:, i], aweights=weight_W, ddof=0)
        assert float(volatility_N[i]) == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_shrinkage_pulls_to_the_mean_of_all_pairs(return_WN: torch.Tensor) -> None:
    z_WN, _, known_N = standardise(return_WN, 20.0)
    everyone = torch.arange(12)
    plain_NN = shrunk_correlation(z_WN, known_N, everyone, 0.0)
    off_NN = ~torch.eye(12, dtype=torch.bool)
    mean = plain_NN[off_NN].mean()
    assert float(mean_correlation(z_WN, known_N)) == pytest.approx(float(mean), abs=1e-5)
    shrunk_NN = shrunk_correlation(z_WN, known_N, everyone, 0.3)
    wanted_NN = 0.7 * plain_NN + 0.3 * mean
    torch.testing.assert_close(shrunk_NN[off_NN], wanted_NN[off_NN], atol=1e-5, rtol=0)


def test_unknown_days_weigh_nothing(return_WN: torch.Tensor) -> None:
    holed_WN = return_WN.clone()
    holed_WN[10:20, 3] = torch.nan
    z_WN, volatility_N, known_N = standardise(holed_WN, 20.0)
    assert known_N.all()
    kept_W = np.r_[0:10, 20:60]
    weight_W = 0.5 ** (np.arange(59, -1, -1) / 20.0)[kept_W]
    variance = np.cov(return_WN[kept_W, 3].double().numpy(), aweights=weight_W, ddof=0)
    assert float(volatility_N[3]) == pytest.approx(np.sqrt(variance), rel=1e-4)
    assert torch.isfinite(z_WN).all()


def test_stocks_without_enough_returns_have_no_correlation(return_WN: torch.Tensor) -> None:
    return_WN[:31, 0] = torch.nan
    return_WN[:, 1] = 0.0
    return_WN[:, 2] = torch.nan
    z_WN, volatility_N, known_N = standardise(return_WN, 20.0)
    assert known_N.tolist() == [False] * 3 + [True] * 9
    assert (volatility_N[:3] == 0).all()
    correlation_NN = shrunk_correlation(z_WN, known_N, torch.arange(12), 0.5)
    assert (correlation_NN[:3] == 0).all()
    assert (correlation_NN[:, :3] == 0).all()
    assert (correlation_NN[3:, 3:] != 0).all()
