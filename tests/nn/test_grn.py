"""Gated residual network: the published formula, its context and its dropout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gogooku3.nn.grn import GatedResidualNetwork


@pytest.mark.parametrize("outputs", [5, 3])
def test_it_is_the_published_formula(outputs: int) -> None:
    torch.manual_seed(0)
    block = GatedResidualNetwork(5, 7, outputs, dropout=0.3, context=4).eval()
    x, context = torch.randn(6, 9, 5), torch.randn(9, 4)
    assert block.context is not None
    eta = F.elu(block.enter(x) + context @ block.context.weight.T)
    eta = block.mix(eta)
    gate, value = block.gated.gate.weight, block.gated.gate.bias
    half = (eta @ gate.T + value).chunk(2, dim=-1)
    skip = x if outputs == 5 else x @ block.skip.weight.T
    expected = F.layer_norm(
        skip + half[0] * torch.sigmoid(half[1]),
        (outputs,),
        block.gated.norm.weight,
        block.gated.norm.bias,
    )
    torch.testing.assert_close(block(x, context), expected)


def test_a_missing_or_superfluous_context_is_an_error() -> None:
    x = torch.randn(2, 5)
    with pytest.raises(ValueError, match="context"):
        GatedResidualNetwork(5, 5, 5, dropout=0.0, context=4)(x)
    with pytest.raises(ValueError, match="context"):
        GatedResidualNetwork(5, 5, 5, dropout=0.0)(x, torch.randn(2, 4))


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    block = GatedResidualNetwork(5, 5, 5, dropout=0.5)
    x = torch.randn(4, 5)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))
