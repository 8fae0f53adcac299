"""Weighted correlations against numpy's, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gogooku3.graph import correlation
from gogooku3.graph.correlation import (
    Shrinkage,
    mean_correlation,
    nearest,
    shrunk_correlation,
    standardise,
    strongest,
)


@pytest.fixture
def return_NW() -> torch.Tensor:
    rng = np.random.default_rng(0)
    common_W = rng.normal(size=60)
    return torch.tensor(0.02 * (common_W + rng.normal(size=(12, 60))), dtype=torch.float32)


def weighted(x_W: np.ndarray, y_W: np.ndarray, weight_W: np.ndarray) -> float:
    cov = np.cov(np.stack([x_W, y_W]), aweights=weight_W)
    return float(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]))


def of_all_pairs(z_NW: torch.Tensor, known_N: torch.Tensor, share: float) -> torch.Tensor:
    shrunk = Shrinkage(share, float(mean_correlation(z_NW, known_N)))
    return shrunk_correlation(z_NW, z_NW, known_N, known_N, shrunk)


@pytest.mark.parametrize("halflife", [5.0, 20.0, 1e9])
def test_correlation_is_that_of_numpy(return_NW: torch.Tensor, halflife: float) -> None:
    z_NW, volatility_N, known_N = standardise(return_NW, halflife)
    found_NN = of_all_pairs(z_NW, known_N, 0.0)
    weight_W = 0.5 ** (np.arange(59, -1, -1) / halflife)
    x_NW = return_NW.double().numpy()
    for i in range(12):
        for j in range(12):
            wanted = weighted(x_NW[i], x_NW[j], weight_W)
            assert float(found_NN[i, j]) == pytest.approx(wanted, abs=1e-5)
        variance = np.cov(x_NW[i], aweights=weight_W, ddof=0)
        assert float(volatility_N[i]) == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_shrinkage_pulls_to_the_mean_of_all_pairs(return_NW: torch.Tensor) -> None:
    z_NW, _, known_N = standardise(return_NW, 20.0)
    plain_NN = of_all_pairs(z_NW, known_N, 0.0)
    off_NN = ~torch.eye(12, dtype=torch.bool)
    mean = plain_NN[off_NN].mean()
    assert float(mean_correlation(z_NW, known_N)) == pytest.approx(float(mean), abs=1e-5)
    shrunk_NN = of_all_pairs(z_NW, known_N, 0.3)
    wanted_NN = 0.7 * plain_NN + 0.3 * mean
    torch.testing.assert_close(shrunk_NN[off_NN], wanted_NN[off_NN], atol=1e-5, rtol=0)


def test_unknown_days_weigh_nothing(return_NW: torch.Tensor) -> None:
    holed_NW = return_NW.clone()
    holed_NW[3, 10:20] = torch.nan
    z_NW, volatility_N, known_N = standardise(holed_NW, 20.0)
    assert known_N.all()
    kept_W = np.r_[0:10, 20:60]
    weight_W = 0.5 ** (np.arange(59, -1, -1) / 20.0)[kept_W]
    variance = np.cov(return_NW[3, kept_W].double().numpy(), aweights=weight_W, ddof=0)
    assert float(volatility_N[3]) == pytest.approx(np.sqrt(variance), rel=1e-4)
    assert torch.isfinite(z_NW).all()


def slowly(return_NW: np.ndarray, halflife: float, share: float) -> np.ndarray:
    """The definition, pair by pair and day by day in float64: 0 weight where a return is unknown,
    each stock centred and scaled by its own known days."""
    stocks, window = return_NW.shape
    plain_NN = np.ones((stocks, stocks))
    moments = []
    for n in range(stocks):
        known = [w for w in range(window) if np.isfinite(return_NW[n, w])]
        weight = {w: 0.5 ** ((window - 1 - w) / halflife) for w in known}
        mean = sum(weight[w] * return_NW[n, w] for w in known) / sum(weight.values())
        square = sum(weight[w] * (return_NW[n, w] - mean) ** 2 for w in known)
        moments.append((weight, mean, square))
    for i in range(stocks):
        for j in range(stocks):
            (weight, mean, square), (others, mean_j, square_j) = moments[i], moments[j]
            shared = weight.keys() & others.keys()
            product = sum(
                weight[w] * (return_NW[i, w] - mean) * (return_NW[j, w] - mean_j) for w in shared
            )
            plain_NN[i, j] = product / np.sqrt(square * square_j)
    off = [plain_NN[i, j] for i in range(stocks) for j in range(stocks) if i != j]
    return (1 - share) * plain_NN + share * sum(off) / len(off)


def test_correlations_of_holed_returns_are_the_slow_ones(return_NW: torch.Tensor) -> None:
    holes = torch.rand(return_NW.shape, generator=torch.Generator().manual_seed(0)) < 0.15
    holed_NW = return_NW.masked_fill(holes, torch.nan)
    z_NW, _, known_N = standardise(holed_NW, 12.0)
    assert known_N.all()
    wanted_NN = slowly(holed_NW.double().numpy(), 12.0, 0.25)
    off_NN = ~np.eye(12, dtype=bool)
    found_NN = of_all_pairs(z_NW, known_N, 0.25).numpy()
    np.testing.assert_allclose(found_NN[off_NN], wanted_NN[off_NN], atol=1e-5)


def test_stocks_without_enough_returns_have_no_correlation(return_NW: torch.Tensor) -> None:
    return_NW[0, :31] = torch.nan
    return_NW[1] = 0.0
    return_NW[2] = torch.nan
    z_NW, volatility_N, known_N = standardise(return_NW, 20.0)
    assert known_N.tolist() == [False] * 3 + [True] * 9
    assert (volatility_N[:3] == 0).all()
    correlation_NN = of_all_pairs(z_NW, known_N, 0.5)
    assert (correlation_NN[:3] == 0).all()
    assert (correlation_NN[:, :3] == 0).all()
    assert (correlation_NN[3:, 3:] != 0).all()


def test_a_strong_negative_correlation_is_near_and_an_unknown_one_is_not() -> None:
    correlation_NC = torch.tensor([[1.0, -0.9, 0.5, 0.1], [-0.9, 1.0, 0.0, 0.0]])
    self_N = torch.tensor([0, 1])
    assert strongest(correlation_NC, self_N, 2).tolist() == [[1, 2], [0, -1]]
    # More places than candidates: the rest stays empty.
    assert strongest(correlation_NC, self_N, 6).shape == (2, 6)
    assert strongest(correlation_NC, torch.tensor([-1, -1]), 1).tolist() == [[0], [1]]


def test_blocks_find_what_the_whole_matrix_has(
    return_NW: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    return_NW[4] = torch.nan
    z_NW, _, known_N = standardise(return_NW, 20.0)
    candidate_C = torch.tensor([1, 3, 4, 6, 7, 9, 10])
    given_NP = torch.tensor([[0], [-1], [6]] * 4)
    monkeypatch.setattr(correlation, "BLOCK", 5)
    place_NM, along_NM = nearest(z_NW, known_N, candidate_C, given_NP, 0.4, 3)
    z_CW, known_C = z_NW[candidate_C], known_N[candidate_C]
    shrunk = Shrinkage(0.4, float(mean_correlation(z_CW, known_C)))
    whole_NC = shrunk_correlation(z_NW, z_CW, known_N, known_C, shrunk)
    for stock in range(12):
        strength_C = whole_NC[stock].abs()
        strength_C[candidate_C == stock] = 0.0
        wanted = strength_C.argsort(descending=True)[:3].tolist() if known_N[stock] else [-1] * 3
        given = int(given_NP[stock, 0])
        wanted += [-1 if given in wanted else given]
        assert place_NM[stock].tolist() == wanted
        for place, value in zip(wanted, along_NM[stock].tolist(), strict=True):
            known = float(whole_NC[stock, place]) if place >= 0 else 0.0
            assert value == pytest.approx(known, abs=1e-6)
