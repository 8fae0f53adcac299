"""Reversal: minus the compounded return of the last days."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gogooku3.config import ReversalConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models import ModelShape
from gogooku3.models.reversal import Reversal

Make = Callable[..., Batch]


@pytest.mark.parametrize(("days", "used"), [(None, (1, 5)), (3, (3, 3)), (12, (12, 12))])
def test_the_score_is_minus_the_return(
    days: int | None, used: tuple[int, int], shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch()
    score_BNK = Reversal(ReversalConfig(days=days), shape)(batch).score_BNK
    for k, length in enumerate(used):
        for b, n in batch.mask_BN.nonzero().tolist():
            wealth = 1.0
            for t in range(shape.lookback - length, shape.lookback):
                wealth *= 1.0 + batch.past_return_BNT[b, n, t].item()
            assert score_BNK[b, n, k].item() == pytest.approx(1.0 - wealth, abs=1e-6)


def test_a_horizon_beyond_the_lookback_uses_all_of_it(make_batch: Make) -> None:
    shape = ModelShape(("a",), 12, (5, 20), 1, 0)
    assert Reversal(ReversalConfig(), shape).days_K == [5, 12]


def test_more_days_than_the_lookback_are_an_error(shape: ModelShape) -> None:
    with pytest.raises(ConfigError, match="look-back"):
        Reversal(ReversalConfig(days=13), shape)


def test_nothing_is_stored(shape: ModelShape) -> None:
    assert Reversal(ReversalConfig(), shape).state_dict() == {}
    assert Reversal.learns == "nothing"
