"""Dropout: the share that is dropped, the scale of what is kept, and who shares a draw."""

from __future__ import annotations

import pytest
import torch

from gogooku3.nn.dropout import DayDropout, Dropout, kept_factors


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.93])
def test_the_share_and_the_scale(rate: float) -> None:
    torch.manual_seed(0)
    factors = kept_factors((401, 503), rate, torch.ones(1))
    assert set(factors.unique().tolist()) == {0.0, torch.tensor(1.0 / (1.0 - rate)).item()}
    deviation = (rate * (1.0 - rate) / factors.numel()) ** 0.5
    assert abs((factors == 0).double().mean().item() - rate) < 5 * deviation + 2**-16


def test_neighbours_in_memory_are_independent() -> None:
    """Four draws share one random word."""
    torch.manual_seed(0)
    kept = (kept_factors((400_000,), 0.5, torch.ones(1)) > 0).double() - 0.5
    for lag in range(1, 9):
        correlation = (kept[:-lag] * kept[lag:]).mean().item() * 4.0
        assert abs(correlation) < 5 / len(kept) ** 0.5


def test_a_tiny_rate_keeps_nearly_all() -> None:
    torch.manual_seed(0)
    assert (kept_factors((1000, 100), 1e-7, torch.ones(1)) == 0).double().mean() < 1e-3


def test_the_seed_fixes_the_draw() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return kept_factors((7, 5), 0.5, torch.ones(1))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_days_share_a_draw_and_windows_do_not() -> None:
    x_TSD = torch.ones(4, 50, 6)
    dropped_TSD = DayDropout(0.5).train()(x_TSD)
    assert (dropped_TSD == dropped_TSD[:1]).all()
    assert (dropped_TSD[0] != dropped_TSD[0, :1]).any()
    each_TSD = Dropout(0.5).train()(x_TSD)
    assert (each_TSD != each_TSD[:1]).any()


@pytest.mark.parametrize("kind", [Dropout, DayDropout])
def test_nothing_is_dropped_in_evaluation(kind: type[Dropout]) -> None:
    x = torch.randn(4, 5)
    assert torch.equal(kind(0.9).eval()(x), x)
    assert torch.equal(kind(0.0).train()(x), x)
