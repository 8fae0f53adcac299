"""Soft ranks: exact in the limit, equal to the pairwise form, best for a perfect order."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from gogooku3.config import LossConfig, SoftSpearmanConfig
from gogooku3.losses import build_loss
from gogooku3.losses.ranks import average_ranks, soft_ranks


def _soft_spearman(score_N: Tensor, target_N: Tensor, temperature: float, bins: int = 512) -> float:
    term = SoftSpearmanConfig(temperature=temperature, bins=bins)
    loss = build_loss(LossConfig(terms=(term,)), (1,))
    valid = torch.ones(1, len(score_N), 1, dtype=torch.bool)
    return 1.0 - loss(score_N[None, :, None], target_N[None, :, None], valid)[0].item()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("link", [0.05, 0.5, -0.9])
@pytest.mark.parametrize("tails", ["normal", "student"])
def test_a_small_temperature_gives_the_exact_value(link: float, scale: float, tails: str) -> None:
    torch.manual_seed(0)
    score_N = torch.randn(4000)
    if tails == "student":
        score_N = score_N / (torch.randn(4, 4000).square().mean(0)).sqrt()
    target_N = (link * score_N + torch.randn(4000)).mul(4).round()  # rounded: many ties
    exact = stats.spearmanr(score_N.numpy(), target_N.numpy()).statistic
    soft = _soft_spearman(score_N * scale, target_N, temperature=0.005)
    assert abs(soft - exact) < 0.01


def test_the_grid_gives_the_pairwise_ranks() -> None:
    torch.manual_seed(0)
    score = torch.randn(2, 3, 300, dtype=torch.float64)
    valid = torch.rand(2, 3, 300) > 0.2
    ranks = soft_ranks(score, valid, temperature=0.1, bins=2048)
    for b in range(2):
        for k in range(3):
            s = score[b, k][valid[b, k]]
            z = (s - s.mean()) / s.std(correction=0)
            pairwise = torch.sigmoid((z[:, None] - z[None]) / 0.1).mean(1)
            torch.testing.assert_close(ranks[b, k][valid[b, k]], pairwise, atol=1e-4, rtol=0)
    assert (ranks[~valid] == 0).all()


def test_the_gradient_points_where_the_pairwise_one_does() -> None:
    torch.manual_seed(0)
    score = torch.randn(1, 1, 400, dtype=torch.float64, requires_grad=True)
    target = torch.randn(1, 1, 400, dtype=torch.float64)
    valid = torch.ones(1, 1, 400, dtype=torch.bool)
    goal = average_ranks(target, valid)
    ours = soft_ranks(score, valid, temperature=0.05, bins=512)
    z = (score - score.mean()) / score.std(correction=0)
    pairwise = torch.sigmoid((z[0, 0, :, None] - z[0, 0, None]) / 0.05).mean(1)[None, None]
    gradients = [
        torch.autograd.grad((r * goal).sum(), score)[0].flatten() for r in (ours, pairwise)
    ]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


def test_a_perfect_order_scores_best() -> None:
    torch.manual_seed(0)
    target_N = torch.randn(200)
    perfect = _soft_spearman(target_N, target_N, 0.05)
    assert perfect > 0.99
    for _ in range(20):
        swapped_N = target_N.clone()
        i, j = torch.randperm(200)[:2].tolist()
        swapped_N[i], swapped_N[j] = target_N[j], target_N[i]
        assert _soft_spearman(swapped_N, target_N, 0.05) < perfect
    assert _soft_spearman(-target_N, target_N, 0.05) < -0.99


def test_average_ranks_are_scipys() -> None:
    torch.manual_seed(0)
    value = torch.randint(0, 6, (2, 2, 30)).double()
    valid = torch.rand(2, 2, 30) > 0.3
    ranks = average_ranks(value, valid)
    for b in range(2):
        for k in range(2):
            expected = stats.rankdata(value[b, k][valid[b, k]].numpy())
            assert ranks[b, k][valid[b, k]].tolist() == expected.tolist()
    assert (ranks[~valid] == 0).all()
