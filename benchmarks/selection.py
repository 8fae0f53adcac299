"""Variable selection as published, beside pytorch-forecasting's.

    pip install 'pytorch-forecasting>=1.8,<1.9'
    python benchmarks/selection.py

The same weights and the same result: each feature's own gated residual network, one after the other
there, tile by tile here. The network that makes the selection weights is theirs on both
sides (its skip connection interpolates). Forward and backward, taking turns in one process. The
low-rank form is measured beside them: another, far smaller function.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from paired import take_turns
from pytorch_forecasting.models.temporal_fusion_transformer.sub_modules import (
    VariableSelectionNetwork,
)
from torch import Tensor, nn

from gogooku3.nn.grouped_selection import GroupedVariableSelection
from gogooku3.nn.variable_selection import VariableSelection


class Weigh(nn.Module):
    """Their network of the weights, called as ours, on the embeddings of all features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, context: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """Logits of the features."""
        embedded = torch.addcmul(bias, x[..., None], scale).flatten(2)
        logits: Tensor = self.network(embedded, context.expand(*x.shape[:2], -1))
        return logits


def copy_weights(ours: GroupedVariableSelection, theirs: Any, names: list[str]) -> None:
    """Give both the same weights."""
    ours.weigh = Weigh(theirs.flattened_grn)
    for f, name in enumerate(names):
        grn, scaler = theirs.single_variable_grns[name], theirs.prescalers[name]
        norm = grn.gate_norm.add_norm.norm
        for own, given in (
            (ours.scale_FD, scaler.weight[:, 0]),
            (ours.bias_FD, scaler.bias),
            (ours.enter_FDD, grn.fc1.weight.T),
            (ours.bias_enter_F1D, grn.fc1.bias),
            (ours.mix_FDD, grn.fc2.weight.T),
            (ours.bias_mix_F1D, grn.fc2.bias),
            (ours.gate_FDG, grn.gate_norm.glu.fc.weight.T),
            (ours.bias_gate_F1G, grn.gate_norm.glu.fc.bias),
            (ours.bias_scale_F1D, norm.weight),
            (ours.bias_shift_F1D, norm.bias),
        ):
            own.data[f] = given.detach().view_as(own[f])


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--lookback", type=int, default=60)
    parser.add_argument("--features", type=int, default=112)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    torch.manual_seed(0)
    width, features = given.width, given.features
    names = [f"f{f}" for f in range(features)]
    theirs = VariableSelectionNetwork(
        dict.fromkeys(names, width), width, dropout=0.0, context_size=width
    )
    ours = GroupedVariableSelection(features=features, width=width, dropout=0.0)
    small = VariableSelection(features=features, rank=8, width=width, dropout=0.0)
    copy_weights(ours, theirs, names)
    x_TSF = torch.randn(given.lookback, given.windows, features)
    context_SD = torch.randn(given.windows, width)

    def grouped() -> Tensor:
        return ours(x_TSF, context_SD)[0]

    def one_by_one() -> Tensor:
        inputs = {name: x_TSF[..., f : f + 1] for f, name in enumerate(names)}
        context = context_SD.expand(given.lookback, -1, -1)
        return theirs(inputs, context)[0]

    difference = (grouped() - one_by_one()).abs().max().item()
    print(
        f"{given.windows} windows x {given.lookback} days, {features} features, width {width}, "
        f"{torch.get_num_threads()} threads, {given.turns} turns; largest difference "
        f"{difference:.1e}\n"
    )
    print("| forward + backward | pytorch-forecasting, ms | ours, ms | ratio |\n|---|---|---|---|")
    for name, way in (
        ("the same function, grouped", grouped),
        ("low-rank form (another function)", lambda: small(x_TSF, context_SD)[0]),
    ):
        found = take_turns(
            lambda way=way: way().square().sum().backward(),
            lambda: one_by_one().square().sum().backward(),
            given.turns,
        )
        print(found.row(name))


if __name__ == "__main__":
    main()
