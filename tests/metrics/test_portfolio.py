"""The decile book by hand: who is in it, what it earns, what it costs."""

import pytest
import torch

from gogooku3.metrics.portfolio import decile_portfolio, legs


def everywhere(days: int, stocks: int) -> torch.Tensor:
    return torch.ones(days, stocks, dtype=torch.bool)


def test_legs_hold_the_best_and_the_worst_tenth() -> None:
    score = torch.arange(30.0).unsqueeze(0)
    long, short = legs(score, everywhere(1, 30))
    assert long[0].nonzero().flatten().tolist() == [27, 28, 29]
    assert short[0].nonzero().flatten().tolist() == [0, 1, 2]
    assert long.sum().item() == pytest.approx(1.0)


def test_ties_across_the_edge_share_the_place() -> None:
    score = torch.zeros(1, 20)
    score[0, :3], score[0, 10:] = 1.0, -1.0  # three stocks compete for two long places
    long, short = legs(score, everywhere(1, 20))
    assert long[0, :3].tolist() == pytest.approx([1 / 3] * 3)
    assert short[0, 10:].tolist() == pytest.approx([0.1] * 10)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    moved_long, _ = legs(score[:, order], everywhere(1, 20))
    assert torch.equal(moved_long, long[:, order])


def test_an_unscored_stock_is_never_held() -> None:
    score = torch.arange(30.0).unsqueeze(0)
    scored = everywhere(1, 30)
    scored[0, 29] = False
    long, _ = legs(score, scored)
    assert long[0, 29].item() == 0
    assert long[0, 28].item() == pytest.approx(0.5)


def test_what_a_book_earns_and_costs() -> None:
    score = torch.stack([torch.arange(20.0), torch.arange(20.0), -torch.arange(20.0)])
    returns = torch.zeros(3, 20)
    returns[:, 18:] = 0.02
    book = decile_portfolio(
        score,
        everywhere(3, 20),
        returns,
        everywhere(3, 20),
        horizon=1,
        cost_bps=10.0,
    )
    assert book.gross_D.tolist() == pytest.approx([0.02, 0.02, -0.02])
    # Opening trades 2 units of money, keeping none, turning over 4.
    assert (book.gross_D - book.net_D).tolist() == pytest.approx([0.002, 0.0, 0.004])
    assert book.turnover_D[0].isnan()
    assert book.turnover_D[1:].tolist() == pytest.approx([0.0, 1.0])
    assert book.hit_rate_D.tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert book.base_rate_D.tolist() == pytest.approx([0.1] * 3)


def test_a_book_of_h_days_is_compared_with_the_one_it_replaces() -> None:
    up, down = torch.arange(20.0), -torch.arange(20.0)
    score = torch.stack([up, down, up, down])
    book = decile_portfolio(
        score,
        everywhere(4, 20),
        torch.zeros(4, 20),
        everywhere(4, 20),
        horizon=2,
        cost_bps=0.0,
    )
    assert book.turnover_D[:2].isnan().all()
    assert book.turnover_D[2:].tolist() == [0.0, 0.0]


def test_a_return_that_stays_unknown_does_not_choose_the_book() -> None:
    score = torch.arange(20.0).unsqueeze(0)
    returns = torch.full((1, 20), 0.01)
    returns[0, 19] = torch.nan
    valid = ~returns.isnan()
    book = decile_portfolio(score, everywhere(1, 20), returns, valid, horizon=1, cost_bps=0.0)
    assert book.gross_D.item() == pytest.approx(0.0)
    long, _ = legs(score, everywhere(1, 20))
    assert long[0, 19].item() == pytest.approx(0.5)


def test_a_constant_score_has_no_book() -> None:
    book = decile_portfolio(
        torch.zeros(1, 20),
        everywhere(1, 20),
        torch.randn(1, 20),
        everywhere(1, 20),
        horizon=1,
        cost_bps=0.0,
    )
    assert book.gross_D.isnan().all()
