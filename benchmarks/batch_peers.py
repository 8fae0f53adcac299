"""Windows a second of processor time, beside another library's loader, in one run and one thread.

    pip install pytorch-forecasting pyqlib        # into an environment of their own
    python benchmarks/batch_peers.py CACHE.arrow qlib|pytorch-forecasting

The peers hold 300 stocks and 90 days of the same cache in memory; ours are whole days of the cache,
with index, masks, past returns and targets.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel

LOOKBACK = 60
FIRST, LAST = 600, 689


def rate(samples: int, act: Callable[[], object]) -> float:
    """Samples a second of processor time."""
    began = time.process_time()
    act()
    return samples / (time.process_time() - began)


def qlib_rate(x_TNF: np.ndarray, y_TN: np.ndarray) -> float:
    """Of TSDataSampler asked for many samples at once, its fastest way."""
    from qlib.data.dataset import TSDataSampler

    days = pd.bdate_range("2020-01-01", periods=len(x_TNF))
    names = [f"s{stock}" for stock in range(x_TNF.shape[1])]
    index = pd.MultiIndex.from_product([days, names], names=["datetime", "instrument"])
    values = np.concatenate([x_TNF, y_TN[..., None]], axis=2).reshape(len(index), -1)
    columns = [*(f"f{f}" for f in range(x_TNF.shape[2])), "y"]
    frame = pd.DataFrame(values, index=index, columns=columns)
    sampler = TSDataSampler(frame, days[LOOKBACK - 1], days[-1], step_len=LOOKBACK)
    size = x_TNF.shape[1]
    parts = [np.arange(part * size, (part + 1) * size) for part in range(6)]
    return median([rate(size, lambda part=part: sampler[part]) for part in parts][1:])


def forecasting_rate(x_TNF: np.ndarray, y_TN: np.ndarray) -> float:
    """Of TimeSeriesDataSet's own loader, without workers."""
    from pytorch_forecasting import TimeSeriesDataSet

    days, stocks, features = x_TNF.shape
    columns = [f"f{f}" for f in range(features)]
    frame = pd.DataFrame(x_TNF.reshape(-1, features), columns=columns)
    frame["y"], frame["t"] = y_TN.reshape(-1), np.repeat(np.arange(days), stocks)
    frame["s"] = np.tile([f"s{stock}" for stock in range(stocks)], days)
    dataset = TimeSeriesDataSet(
        frame,
        time_idx="t",
        target="y",
        group_ids=["s"],
        min_encoder_length=LOOKBACK,
        max_encoder_length=LOOKBACK,
        max_prediction_length=1,
        time_varying_unknown_reals=columns,
    )
    batches = iter(dataset.to_dataloader(train=True, batch_size=256, num_workers=0))
    return median([rate(256, lambda: next(batches)) for _ in range(5)][1:])


def main() -> None:
    """Measure one peer and print the ratio."""
    torch.set_num_threads(1)
    panel = Panel.open(Path(sys.argv[1]))
    peer = {"qlib": qlib_rate, "pytorch-forecasting": forecasting_rate}[sys.argv[2]]
    split = DateSplit(train_end=panel.calendar[1000], valid_end=panel.calendar[1300])
    data = DataConfig(lookback=LOOKBACK, horizons=panel.header.horizons, split=split)
    maker = BatchMaker(panel, data, reuse=True)
    asked = panel.scored_stocks(LAST)[:300]
    row_TN = panel.rows_between(FIRST, LAST, asked)
    row_TN = row_TN[:, (row_TN >= 0).all(dim=0)]
    x_TNF = panel.features_RF[row_TN.long()].float().numpy()
    y_TN = panel.targets_RK[row_TN.long()][..., 0].nan_to_num(0.0).numpy()
    theirs = peer(x_TNF, y_TN)
    days = (661, 667, 670, 675, 681)
    size = len(panel.scored_stocks(LAST))
    ours = median([rate(size, lambda day=day: maker.make([day])) for day in days][1:])
    print(f"{sys.argv[2]} {theirs:,.0f}, ours {ours:,.0f} samples/s: {ours / theirs:.1f}x")


if __name__ == "__main__":
    main()
