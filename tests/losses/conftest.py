"""Random days to score."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

Days = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: on a busy machine two wait for each other at each of these small operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_days() -> Callable[..., Days]:
    """Score, target and mask [B, N, K]; one in six returns is unknown, targets have ties."""

    def make(
        days: int = 2, stocks: int = 24, horizons: int = 2, seed: int = 0, dtype: str = "float64"
    ) -> Days:
        g = torch.Generator().manual_seed(seed)
        shape = (days, stocks, horizons)
        score = torch.randn(shape, generator=g, dtype=torch.float64)
        target = 0.3 * score + torch.randn(shape, generator=g, dtype=torch.float64)
        target[:, :3] = 0.5
        valid = torch.rand(shape, generator=g) > 1 / 6
        kind = getattr(torch, dtype)
        return score.to(kind), torch.where(valid, target, 0.0).to(kind), valid

    return make
