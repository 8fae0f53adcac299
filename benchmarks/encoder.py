"""Rows of consecutive days encoded once for all their windows, beside each window by itself.

    python benchmarks/encoder.py

Forward and backward of the same module with the same weights on the same days; taking turns in one
process. The naive path reads the windows as views of the same rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from paired import take_turns
from torch import Tensor

from gogooku3.nn.fan import StreamingFan
from gogooku3.nn.temporal import AttentionEncoder
from gogooku3.nn.variable_selection import VariableSelection


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=32)
    parser.add_argument("--days", type=int, default=16)
    parser.add_argument("--lookback", type=int, default=60)
    parser.add_argument("--features", type=int, default=112)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    torch.manual_seed(0)
    days, lookback, width, stocks = given.days, given.lookback, given.width, given.stocks
    x_LSF = torch.randn(lookback + days - 1, stocks, given.features)
    context_SD = torch.randn(stocks, width)
    selection = VariableSelection(features=given.features, rank=8, width=width, dropout=0.0)
    whole = AttentionEncoder(width=width, heads=4, ages=lookback, dropout=0.0)
    window = lookback // 2
    short = AttentionEncoder(width=width, heads=4, ages=lookback - window + 1, dropout=0.0)
    fan = StreamingFan(window=window, top_k=2)

    def rows_only(x: Tensor, context: Tensor) -> Tensor:
        return whole.enter(selection(x, context)[0], context)

    def with_attention(x: Tensor, context: Tensor) -> Tensor:
        present = torch.ones(x.shape[:2], dtype=torch.bool)
        return whole(selection(x, context)[0], present, context).h_QSD

    def with_fan(x: Tensor, context: Tensor) -> Tensor:
        scored = days if x.shape[0] > lookback else 1
        present = torch.ones(x.shape[:2], dtype=torch.bool)
        residual = fan(x, present, scored).residual_LSF
        seen = present[len(present) - len(residual) :]
        return short(selection(residual, context)[0], seen, context).h_QSD

    def by_windows(make: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        x_TRF = x_LSF.unfold(0, lookback, 1).permute(3, 0, 1, 2).flatten(1, 2)
        made = make(x_TRF, context_SD.repeat(days, 1))
        return made[-1:].unflatten(1, (days, stocks)).squeeze(0)

    print(
        f"{stocks} stocks, {days} days, look-back {lookback}, {given.features} features, width "
        f"{width}, {torch.get_num_threads()} threads, {given.turns} turns\n"
    )
    print("| forward + backward | by windows, ms | shared, ms | ratio | difference |")
    print("|---|---|---|---|---|")
    for name, make in (
        ("selection and row GRN", rows_only),
        ("with banded attention", with_attention),
        (f"with streaming FAN of {window} days", with_fan),
    ):

        def shared(make: Callable[[Tensor, Tensor], Tensor] = make) -> Tensor:
            return make(x_LSF, context_SD)[-days:]

        def naive(make: Callable[[Tensor, Tensor], Tensor] = make) -> Tensor:
            return by_windows(make)

        difference = (shared() - naive()).abs().max().item()
        found = take_turns(
            lambda shared=shared: shared().square().sum().backward(),
            lambda naive=naive: naive().square().sum().backward(),
            given.turns,
        )
        print(f"{found.row(name)} {difference:.1e} |")


if __name__ == "__main__":
    main()
