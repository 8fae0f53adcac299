"""Ranks against scipy, on values with many ties."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from gogooku3.metrics import average_ranks


@pytest.mark.parametrize("levels", [3, 1000])
def test_average_ranks_equal_scipy(levels: int) -> None:
    rng = np.random.default_rng(levels)
    values = rng.integers(0, levels, size=(5, 40)).astype(np.float32)
    valid = rng.random((5, 40)) < 0.7
    ranks = average_ranks(torch.from_numpy(values), torch.from_numpy(valid)).numpy()
    for day in range(5):
        expected = rankdata(values[day, valid[day]], method="average")
        np.testing.assert_array_equal(ranks[day, valid[day]], expected)
        assert (ranks[day, ~valid[day]] == 0).all()


def test_a_day_without_valid_values_has_no_ranks() -> None:
    ranks = average_ranks(torch.randn(1, 6), torch.zeros(1, 6, dtype=torch.bool))
    assert (ranks == 0).all()
