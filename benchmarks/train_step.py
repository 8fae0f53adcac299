"""Training steps of ATFT-GAT-FAN beside pytorch-forecasting's TemporalFusionTransformer.

    pip install 'pytorch-forecasting>=1.8,<1.9'
    python benchmarks/train_step.py

A step is forward, loss, backward, AdamW; batches are made before. Samples are scored stock-days.
These are different models (sizes are printed): a rate says nothing about ranking, which has to be
compared on a market before one is called better. Taking turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from paired import take_turns

from gogooku3.config import AtftGatFanConfig, LossConfig
from gogooku3.data.batch import Batch, BlockRows
from gogooku3.losses import build_loss
from gogooku3.models import ModelShape, build_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet

HORIZONS = (1, 5, 10, 20)
SECTORS, NEIGHBOURS, EDGE_FEATURES = 34, 15, 4


def block(stocks: int, days: int, lookback: int, features: int) -> Batch:
    """A block of random rows with a random graph."""
    length = lookback + days - 1
    size = (days, stocks)
    everything = torch.ones(size, dtype=torch.bool)
    rows = BlockRows(
        stock_S=torch.arange(stocks),
        sector_S=torch.randint(0, SECTORS, (stocks,)),
        x_LSF=torch.randn(length, stocks, features),
        present_LS=torch.ones(length, stocks, dtype=torch.bool),
        past_return_LS=torch.zeros(length, stocks),
    )
    x_BNTF, present_BNT, past_return_BNT = rows.windows(lookback)
    target_BNK = torch.randn(*size, len(HORIZONS))
    return Batch(
        day_B=torch.arange(days),
        stock_BN=rows.stock_S.expand(size),
        x_BNTF=x_BNTF,
        present_BNT=present_BNT,
        mask_BN=everything,
        sector_BN=rows.sector_S.expand(size),
        past_return_BNT=past_return_BNT,
        return_BNK=target_BNK,
        target_BNK=target_BNK,
        valid_BNK=everything[..., None].expand_as(target_BNK),
        neighbour_BNM=torch.randint(0, stocks, (*size, NEIGHBOURS)),
        edge_BNME=torch.randn(*size, NEIGHBOURS, EDGE_FEATURES),
        rows=rows,
    )


def our_step(config: dict[str, object], batch: Batch, width: int) -> tuple[Callable[[], None], int]:
    """A training step, and the model's size."""
    lookback, features = batch.x_BNTF.shape[2:]
    names = tuple(f"f{f}" for f in range(features))
    shape = ModelShape(names, lookback, HORIZONS, SECTORS, EDGE_FEATURES)
    model = build_model(AtftGatFanConfig.model_validate({"hidden_size": width, **config}), shape)
    loss = build_loss(LossConfig(), HORIZONS)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        output = model(batch)
        total, _ = loss(output.score_BNK, batch.target_BNK, batch.valid_BNK)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in model.parameters())


def their_step(
    windows: int, lookback: int, features: int, width: int
) -> tuple[Callable[[], None], int]:
    """The same of a TemporalFusionTransformer that predicts one day ahead."""
    days, stocks = lookback + 40, 8
    rng = np.random.default_rng(0)
    names = [f"f{f}" for f in range(features)]
    table = pd.DataFrame(
        rng.normal(size=(days * stocks, features)).astype(np.float32), columns=names
    )
    table["stock"] = np.repeat([f"s{s}" for s in range(stocks)], days)
    table["sector"] = np.repeat([f"g{s % 4}" for s in range(stocks)], days)
    table["day"] = np.tile(np.arange(days), stocks)
    table["target"] = rng.normal(size=len(table)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = TimeSeriesDataSet(
            table,
            time_idx="day",
            target="target",
            group_ids=["stock"],
            max_encoder_length=lookback,
            min_encoder_length=lookback,
            max_prediction_length=1,
            static_categoricals=["sector"],
            time_varying_unknown_reals=names,
        )
        model = TemporalFusionTransformer.from_dataset(
            dataset, hidden_size=width, hidden_continuous_size=width, attention_head_size=4
        )
        loader = dataset.to_dataloader(train=True, batch_size=windows, num_workers=0)
        inputs, (target, _) = next(iter(loader))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        output = model(inputs)
        total = model.loss(output["prediction"], target)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=400)
    parser.add_argument("--days", type=int, default=16)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--lookback", type=int, default=60)
    parser.add_argument("--features", type=int, default=112)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    torch.manual_seed(0)
    peer, peer_size = their_step(given.windows, given.lookback, given.features, given.width)
    batch = block(given.stocks, given.days, given.lookback, given.features)
    print(
        f"look-back {given.lookback}, {given.features} features, width {given.width}, "
        f"{torch.get_num_threads()} threads, {given.turns} turns\n"
    )
    print("| model | parameters | samples a step | samples/s | ratio |\n|---|---|---|---|---|")
    samples = given.stocks * given.days
    forms: dict[str, dict[str, object]] = {
        "streaming FAN, attention, shared rows": {
            "fan": {"kind": "streaming"},
            "encoder": {"kind": "attention"},
        }
    }
    for name, config in forms.items():
        step, size = our_step(config, batch, given.width)
        found = take_turns(step, peer, given.turns)
        rates = [samples / taken for taken in found.ours_s]
        peer_rates = [given.windows / taken for taken in found.theirs_s]
        ratio = statistics.median(o / t for o, t in zip(rates, peer_rates, strict=True))
        print(
            f"| {name} | {size:,} | {samples:,} | {statistics.median(rates):,.0f} | {ratio:.1f} |"
        )
    rate = statistics.median(peer_rates)
    print(f"| TemporalFusionTransformer | {peer_size:,} | {given.windows} | {rate:,.0f} | 1 |")


if __name__ == "__main__":
    main()
