"""Small random batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gogooku3.data.batch import Batch
from gogooku3.models import ModelShape

SHAPE = ModelShape(
    features=("a", "b", "c", "d", "e", "f"),
    lookback=12,
    horizons=(1, 5),
    sectors=5,
    edge_features=3,
)
NEIGHBOURS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: on a busy machine two wait for each other at each of these small operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shape() -> ModelShape:
    """6 features, 12 days, horizons 1 and 5, 5 sectors, 3 edge features."""
    return SHAPE


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A batch with absent days, unknown returns, missing edges and padding."""

    def make(days: int = 2, stocks: int = 16, padding: int = 2, seed: int = 0) -> Batch:
        g = torch.Generator().manual_seed(seed)
        lookback, features, horizons = SHAPE.lookback, len(SHAPE.features), len(SHAPE.horizons)
        size = (days, stocks)
        mask_BN = torch.ones(size, dtype=torch.bool)
        mask_BN[:, stocks - padding :] = False
        present_BNT = torch.rand(*size, lookback, generator=g) > 0.15
        present_BNT[:, 0, : lookback // 2] = False
        present_BNT[..., -1] = True
        present_BNT &= mask_BN[..., None]
        x_BNTF = torch.randn(*size, lookback, features, generator=g) * present_BNT[..., None]
        past_return_BNT = 0.02 * torch.randn(*size, lookback, generator=g) * present_BNT
        valid_BNK = (torch.rand(*size, horizons, generator=g) > 0.1) & mask_BN[..., None]
        return_BNK = 0.02 * torch.randn(*size, horizons, generator=g)
        order = torch.rand(days, stocks, stocks, generator=g)
        order.diagonal(dim1=1, dim2=2).fill_(-1.0)
        order.masked_fill_(~mask_BN[:, None], -1.0)
        neighbour_BNM = order.topk(NEIGHBOURS, dim=-1).indices
        neighbour_BNM[torch.rand(neighbour_BNM.shape, generator=g) < 0.2] = -1
        neighbour_BNM[~mask_BN] = -1
        edge_BNME = torch.randn(*neighbour_BNM.shape, SHAPE.edge_features, generator=g)
        return Batch(
            day_B=torch.arange(days),
            stock_BN=torch.arange(stocks).expand(size).masked_fill(~mask_BN, -1),
            x_BNTF=x_BNTF,
            present_BNT=present_BNT,
            mask_BN=mask_BN,
            sector_BN=torch.randint(0, SHAPE.sectors, size, generator=g) * mask_BN,
            past_return_BNT=past_return_BNT,
            return_BNK=return_BNK.masked_fill(~valid_BNK, torch.nan),
            target_BNK=(return_BNK * 50).masked_fill(~valid_BNK, 0.0),
            valid_BNK=valid_BNK,
            neighbour_BNM=neighbour_BNM,
            edge_BNME=edge_BNME * (neighbour_BNM >= 0)[..., None],
        )

    return make


@pytest.fixture
def permute() -> Callable[[Batch, torch.Tensor], Batch]:
    """The same batch with its stocks in another order, the edges following."""

    def reorder(batch: Batch, order_N: torch.Tensor) -> Batch:
        place_N = torch.empty_like(order_N)
        place_N[order_N] = torch.arange(len(order_N))
        moved = {
            name: value if name == "day_B" else value[:, order_N]
            for name, value in vars(batch).items()
            if name != "rows"
        }
        neighbour = moved["neighbour_BNM"]
        moved["neighbour_BNM"] = torch.where(neighbour >= 0, place_N[neighbour.clamp(min=0)], -1)
        return Batch(**moved)

    return reorder
