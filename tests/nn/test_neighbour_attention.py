"""Attention over neighbours chunk by chunk: exact gradients, and chunks make no difference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gogooku3.nn import neighbour_attention
from gogooku3.nn.neighbour_attention import attend_neighbours

STOCKS, NEIGHBOURS, EDGE, HEADS, PER_HEAD = 7, 3, 2, 2, 3


def _given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=g, dtype=torch.float64).to(dtype)

    width = HEADS * PER_HEAD
    place_RM = torch.randint(0, STOCKS, (STOCKS, NEIGHBOURS), generator=g)
    exists_RM = torch.rand(STOCKS, NEIGHBOURS, generator=g) > 0.3
    exists_RM[0] = False
    kept_RMH = (torch.rand(STOCKS, NEIGHBOURS, HEADS, generator=g) > 0.3).to(dtype) / 0.7
    return (
        normal(STOCKS, width),
        normal(STOCKS, width),
        normal(STOCKS, NEIGHBOURS, EDGE),
        normal(width, EDGE),
        normal(HEADS, PER_HEAD),
        place_RM,
        exists_RM,
        kept_RMH,
    )


def test_gradients_are_exact() -> None:
    source, target, edge, edge_weight, attention, *rest = _given()
    learned = [part.requires_grad_() for part in (source, target, edge_weight, attention)]

    def attend(source: Tensor, target: Tensor, edge_weight: Tensor, attention: Tensor) -> Tensor:
        return attend_neighbours(source, target, edge, edge_weight, attention, *rest)

    assert torch.autograd.gradcheck(attend, learned)
    assert (attend(*learned)[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_make_no_difference(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _given(dtype)
    for part in (*given[:2], *given[3:5]):
        part.requires_grad_()
    found = []
    for size in (1 << 17, 1):
        monkeypatch.setitem(neighbour_attention._CHUNK, "cpu", size)
        out_RJ = attend_neighbours(*given)
        learned = (*given[:2], *given[3:5])
        found.append([out_RJ, *torch.autograd.grad(out_RJ.float().square().sum(), learned)])
    for whole, pieces in zip(*found, strict=True):
        assert whole.dtype == dtype
        torch.testing.assert_close(whole, pieces)
