"""Gated blocks of the temporal fusion transformer (Lim, Arik, Loeff, Pfister, 2021).

Shapes: ... any leading axes, I inputs, D hidden, O outputs, C context.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.dropout import DayDropout


class GatedResidual(nn.Module):
    """Add a gated branch to a skip connection: LayerNorm(skip + GLU(dropout(branch)))."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = DayDropout(dropout)
        self.gate = nn.Linear(inputs, 2 * outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, branch: Tensor, skip: Tensor) -> Tensor:
        """branch [..., I], skip [..., O] -> [..., O]."""
        gated: Tensor = self.norm(skip + F.glu(self.gate(self.dropout(branch)), dim=-1))
        return gated


class GatedResidualNetwork(nn.Module):
    """GRN: two layers with an optional context, then a gated residual.

    eta = ELU(W2 x + W3 context); GRN(x) = LayerNorm(skip(x) + GLU(W1 eta)).
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        dropout: float,
        context: int | None = None,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        # No bias: `enter` has one, and two added biases would be one parameter twice.
        self.context = None if context is None else nn.Linear(context, hidden, bias=False)
        self.mix = nn.Linear(hidden, hidden)
        self.skip = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=False)
        self.gated = GatedResidual(hidden, outputs, dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x [..., I], context [..., C] broadcastable to x -> [..., O].

        Raises ValueError when a context is given to a block without one, or the reverse.
        """
        return self.rest(self.enter(x), self.skip(x), context)

    def rest(self, hidden: Tensor, skip: Tensor, context: Tensor | None = None) -> Tensor:
        """What follows the two products with the input: `enter`'s and `skip`'s results given."""
        if (context is None) != (self.context is None):
            raise ValueError("this GRN and its call disagree about a context")
        if self.context is not None:
            hidden = hidden + self.context(context)
        output: Tensor = self.gated(self.mix(F.elu(hidden)), skip)
        return output
