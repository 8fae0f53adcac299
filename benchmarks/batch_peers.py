"""Windows a second beside another library's loader, taking turns in one process.

    pip install pytorch-forecasting pyqlib        # into an environment of their own
    python benchmarks/batch_peers.py CACHE.arrow qlib|pytorch-forecasting

The peer is given rows of the same cache in memory: for qlib 800 stocks on 400 days (150 MB, far
more than a processor's cache), for pytorch-forecasting 200 stocks on 90 days, since building its
data set takes long. Each is asked in its fastest way: qlib's TSDataSampler for a whole day's
windows at once, pytorch-forecasting's own loader for batches of 512, without workers. Ours are
whole days of the cache's file, with index, masks, past returns and targets, which the peers do
without.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel

LOOKBACK = 60
Values = NDArray[np.float32]
Sampler = Callable[[], int]
"""Makes one batch and says how many windows it holds."""


def qlib_sampler(x_TNF: Values, y_TN: Values) -> Sampler:
    """TSDataSampler asked for a random day's windows at once."""
    from qlib.data.dataset import TSDataSampler

    days, stocks, _ = x_TNF.shape
    dates = pd.bdate_range("2015-01-01", periods=days)
    names = [f"s{stock:04}" for stock in range(stocks)]
    index = pd.MultiIndex.from_product([dates, names], names=["datetime", "instrument"])
    values = np.concatenate([x_TNF, y_TN[..., None]], axis=2).reshape(len(index), -1)
    frame = pd.DataFrame(values, index=index)
    sampler = TSDataSampler(frame, dates[LOOKBACK - 1], dates[-1], step_len=LOOKBACK)
    # Samples are numbered stock by stock: those of one day lie `days - LOOKBACK + 1` apart.
    per_stock = len(sampler) // stocks
    order = np.random.default_rng(0)

    def sample() -> int:
        ids = order.integers(per_stock) + per_stock * np.arange(stocks)
        found = sampler[ids]
        assert found.shape == (stocks, LOOKBACK, x_TNF.shape[2] + 1)
        return stocks

    return sample


def forecasting_sampler(x_TNF: Values, y_TN: Values) -> Sampler:
    """TimeSeriesDataSet's own loader."""
    from pytorch_forecasting import TimeSeriesDataSet

    days, stocks, features = x_TNF.shape
    columns = [f"f{f}" for f in range(features)]
    frame = pd.DataFrame(x_TNF.reshape(-1, features), columns=columns)
    keys = pd.DataFrame(
        {
            "y": y_TN.reshape(-1),
            "t": np.repeat(np.arange(days), stocks),
            "s": np.tile([f"s{stock}" for stock in range(stocks)], days),
        }
    )
    dataset = TimeSeriesDataSet(
        pd.concat([frame, keys], axis=1),
        time_idx="t",
        target="y",
        group_ids=["s"],
        min_encoder_length=LOOKBACK - 1,
        max_encoder_length=LOOKBACK - 1,
        max_prediction_length=1,
        time_varying_unknown_reals=columns,
    )
    loader = dataset.to_dataloader(train=True, batch_size=512, num_workers=0)
    batches = chain.from_iterable(repeat(loader))

    def sample() -> int:
        x, _ = next(batches)
        return len(x["encoder_cont"])

    return sample


PEERS = {
    "qlib": (qlib_sampler, 800, 400),
    "pytorch-forecasting": (forecasting_sampler, 200, 90),
}


def rate(sample: Sampler) -> float:
    """Windows a second of one batch."""
    began = time.perf_counter()
    count = sample()
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure one peer and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="a dataset's .arrow file")
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--rounds", type=int, default=12, help="batches of each")
    given = parser.parse_args()
    panel = Panel.open(given.cache)
    build, stocks, days = PEERS[given.peer]
    last = panel.header.first_day + LOOKBACK + days
    calendar = panel.calendar
    split = DateSplit(
        train_end=calendar[len(calendar) * 7 // 10], valid_end=calendar[len(calendar) * 9 // 10]
    )
    data = DataConfig(lookback=LOOKBACK, horizons=panel.header.horizons, split=split)
    maker = BatchMaker(panel, data, reuse=1)
    row_TN = panel.rows_between(last - days + 1, last, panel.scored_stocks(last))
    row_TN = row_TN[:, (row_TN >= 0).all(dim=0)][:, :stocks].long()
    x_TNF = panel.features_RF[row_TN].float().nan_to_num_(0.0).numpy()
    y_TN = panel.targets_RK[row_TN][..., 0].nan_to_num(0.0).numpy()
    theirs = build(x_TNF, y_TN)
    order = np.random.default_rng(1)

    def ours() -> int:
        day = int(order.integers(last - days + LOOKBACK, last))
        return int(maker.make([day]).mask_BN.sum())

    for warm in (ours, theirs):
        for _ in range(3):
            warm()
    pairs = [(rate(ours), rate(theirs)) for _ in range(given.rounds)]
    own, other = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(mine / peer for mine, peer in pairs)
    print(f"{x_TNF.shape[1]} stocks x {days} days x {x_TNF.shape[2]} features, ", end="")
    print(f"{torch.get_num_threads()} threads")
    print(f"{given.peer} {other:,.0f}, ours {own:,.0f} windows/s: {ratio:.1f}x")


if __name__ == "__main__":
    main()
