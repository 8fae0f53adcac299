"""Full-day windows of random days, paired with a memcpy of the same bytes and with a Polars scan.

    python benchmarks/batches.py CACHE.arrow

A batch is one day's whole cross-section: windows, index, masks, past returns and targets. Batch and
memcpy take turns in one run; the ratio is the median of the pairs' ratios. The next day's batch is
that of a block, whose windows are views of rows that are read once. The Polars way filters
the look-back's rows out of the same file and lays them out as windows, without targets.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.data.rows import RowReader


def seconds(act: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def scanned(path: Path, first: date, last: date, places: dict[str, int]) -> np.ndarray:
    """x_TNF of a window by scanning the file."""
    wanted = pl.col("date").is_between(first, last)
    rows = pl.scan_ipc(path).filter(wanted).select("date", "code", "features").collect()
    day_R = (rows["date"].rank("dense") - 1).to_numpy()
    stock_R = rows["code"].cast(pl.String).replace_strict(places, return_dtype=pl.Int64).to_numpy()
    value_RF = rows["features"].to_numpy()
    x_TNF = np.zeros((day_R.max() + 1, len(places), value_RF.shape[1]), dtype=np.float32)
    x_TNF[day_R, stock_R] = value_RF
    return x_TNF


def main() -> None:
    """Measure one cache and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="a dataset's .arrow file")
    parser.add_argument("--lookback", type=int, default=60)
    parser.add_argument("--days", type=int, default=24, help="random days to measure")
    given = parser.parse_args()
    panel = Panel.open(given.cache)
    calendar = panel.calendar
    split = DateSplit(
        train_end=calendar[len(calendar) * 7 // 10], valid_end=calendar[len(calendar) * 9 // 10]
    )
    horizons = panel.header.horizons
    data = DataConfig(lookback=given.lookback, horizons=horizons, split=split)
    maker = BatchMaker(panel, data, reuse=1)
    train_D = [day for day in maker.split.train_D if day >= panel.header.first_day + given.lookback]
    days = random.Random(0).sample(train_D, min(given.days, len(train_D)))
    x_BNTF = maker.make(days[:1]).x_BNTF
    source = torch.rand(x_BNTF.numel())
    target = torch.empty_like(source)
    target.copy_(source)
    for day in days:  # the file's pages are in memory from here on
        maker.make([day])
    random_s, copy_s = [], []
    for day in days:
        random_s.append(seconds(lambda day=day: maker.make([day])))
        copy_s.append(seconds(lambda: target.copy_(source)))
    start = train_D[len(train_D) // 2]
    # The first block reads the whole look-back, each further one its own day.
    blocks = maker.blocks(range(start, start + 25), 1)
    next(blocks)
    next_s = [seconds(lambda: next(blocks)) for _ in range(24)]
    row_SN = panel.rows_between(start, start, panel.scored_stocks(start))
    row_SNF = torch.empty((*row_SN.shape, len(maker.features)))
    reader = RowReader(panel, maker.features, maker.scaling)
    moved_s = [seconds(lambda: reader.read(row_SN, [start], row_SNF)) for _ in range(24)]
    ratio = statistics.median(copy / made for copy, made in zip(copy_s, random_s, strict=True))
    places = {code: place for place, code in enumerate(panel.codes)}
    polars_s = [
        seconds(
            lambda day=day: scanned(
                given.cache, calendar[day - given.lookback + 1], calendar[day], places
            )
        )
        for day in days[:4]
    ]
    stocks, lookback, features = x_BNTF.shape[1:]
    gigabytes = x_BNTF.numel() * 4 / 1e9
    made, copied, by_scan = map(statistics.median, (random_s, copy_s, polars_s))
    print(f"{stocks:,} stocks x {lookback} days x {features} features, {panel.header.storage}, ")
    print(f"{torch.get_num_threads()} threads\n")
    print("| what | ms | GB/s | samples/s |\n|---|---|---|---|")
    for name, took in (
        ("a random day's batch", made),
        ("memcpy of the windows' bytes", copied),
        ("the next day's batch, in a block", statistics.median(next_s)),
        ("of that, moving its rows", statistics.median(moved_s)),
        ("Polars scan of a day's window", by_scan),
    ):
        print(f"| {name} | {took * 1e3:.1f} | {gigabytes / took:.2f} | {stocks / took:,.0f} |")
    print(f"\nbatch / memcpy = {ratio:.2f}; Polars / batch = {by_scan / made:.1f}x the time")


if __name__ == "__main__":
    main()
