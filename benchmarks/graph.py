"""Graphs of a large market: built, read back, put into batches, and beside plain numpy.

    python benchmarks/graph.py [--days 2500] [--stocks 4000] [--every 5]

The market is synthetic (a market factor, 33 sectors in 17 coarse ones, 2 % of the rows missing but
none of the last days') and every stock is a candidate. The peer makes the same neighbours from
`numpy.cov(aweights=...)` and `numpy.argpartition`, in numpy's own precision, float64; it and our
building take turns on the same days of the same run. Nothing is extrapolated: the peer's figure is
per graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gogooku3.config import DataConfig, DateSplit, GraphConfig
from gogooku3.data.batches import BatchMaker
from gogooku3.data.columns import ColumnFile
from gogooku3.data.panel import Panel
from gogooku3.data.writer import Rows, write_cache
from gogooku3.graph import GraphBuilder
from gogooku3.graph.build import build_graph

EVERY_KIND = {"sector_coarse_neighbours": 5, "leader_neighbours": 3}
FIRST_DAY = 60
PEER_DAYS = 8
ATTACHED_DAYS = 20
WHOLE_DAYS = 80
"""The market's last days have no missing rows: there the peer must find what we find."""


def write_market(path: Path, days: int, stocks: int) -> None:
    """Simulate a market and write it as a cache with one feature."""
    rng = np.random.default_rng(0)
    sector_N = (np.arange(stocks) % 33).astype(np.int32)
    coarse_N = (sector_N // 2).astype(np.int32)
    market_T1 = rng.normal(size=(days, 1)).astype(np.float32)
    sector_TS = rng.normal(size=(days, 33)).astype(np.float32)
    beta_N = rng.uniform(0.5, 1.5, stocks).astype(np.float32)
    own_TN = rng.standard_normal((days, stocks), dtype=np.float32)
    residual_TN = 0.01 * (0.7 * sector_TS[:, sector_N] + own_TN)
    return_TN = residual_TN + 0.01 * beta_N * market_T1
    present_TN = rng.random((days, stocks), dtype=np.float32) > 0.02
    present_TN[-WHOLE_DAYS:] = True
    day_R, stock_R = (at.astype(np.int32) for at in np.nonzero(present_TN))
    calendar = [date(2010, 1, 1) + timedelta(days=day) for day in range(days)]
    feature = {"name": "return_1", "role": "stock", "formula": "return_1", "lookback_days": 2}
    header: dict[str, Any] = {
        "name": path.stem,
        "source": {"file": "simulated", "size": 0, "sha256": ""},
        "features": [{**feature, "missing_share": 0.0, "family": "price"}],
        "horizons": [1],
        "normalisation": "rank",
        "universe": {"top": None, "min_days": 1, "window": 1, "first_day": FIRST_DAY},
        "planted": None,
        "quality": {},
        "report": [],
        "code_version": "0",
    }
    with ColumnFile(len(day_R), "float32", path.parent) as features:
        features.append(return_TN[present_TN])
        rows = Rows(
            day_R=day_R,
            stock_R=stock_R,
            features=features,
            targets_RK=np.zeros((len(day_R), 1), dtype=np.float32),
            return_R=return_TN[present_TN],
            residual_R=residual_TN[present_TN],
            beta_R=beta_N[stock_R],
            liquidity_R=rng.lognormal(size=stocks).astype(np.float32)[stock_R],
            universe_R=day_R >= FIRST_DAY,
            codes=tuple(f"S{number:05d}" for number in range(stocks)),
            sector_N=sector_N,
            sectors=tuple(f"s{number:02d}" for number in range(33)),
            sector_coarse_N=coarse_N,
            sectors_coarse=tuple(f"c{number:02d}" for number in range(17)),
        )
        write_cache(path, rows, calendar, header)


def peer(panel: Panel, config: GraphConfig, day: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation neighbours as one would write it in numpy: positions and correlations."""
    stock_C = panel.scored_stocks(day)
    row_CW = panel.rows_until(day, config.window, stock_C).numpy()
    known_CW = row_CW >= 0
    # numpy has no missing values: an absent day counts as one without a move.
    return_CW = np.where(known_CW, panel.return_R.numpy()[np.maximum(row_CW, 0)], 0.0)
    weight_W = 0.5 ** (np.arange(config.window - 1, -1, -1) / config.halflife)
    covariance_CC = np.cov(return_CW, aweights=weight_W, ddof=0)
    deviation_C = np.sqrt(np.diag(covariance_CC))
    correlation_CC = covariance_CC / deviation_C[:, None] / deviation_C
    count = len(stock_C)
    mean = (correlation_CC.sum() - count) / (count * (count - 1))
    correlation_CC = (1 - config.shrinkage) * correlation_CC + config.shrinkage * mean
    np.fill_diagonal(correlation_CC, 0.0)
    strength_CC = np.abs(correlation_CC)
    place_CM = np.argpartition(-strength_CC, config.neighbours, axis=1)[:, : config.neighbours]
    order_CM = np.argsort(-np.take_along_axis(strength_CC, place_CM, axis=1), axis=1)
    place_CM = np.take_along_axis(place_CM, order_CM, axis=1)
    return stock_C.numpy()[place_CM], np.take_along_axis(correlation_CC, place_CM, axis=1)


def agreement(panel: Panel, config: GraphConfig) -> float:
    """Share of the peer's neighbours that are ours, on the last day."""
    day = len(panel.calendar) - 1
    theirs_CM, _ = peer(panel, config, day)
    stock_C = panel.scored_stocks(day)
    ours_CM = build_graph(panel, config, day).neighbour_NM[stock_C].numpy()
    return float((ours_CM[:, :, None] == theirs_CM[:, None]).any(2).mean())


def seconds(act: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def attach_ms(panel: Panel, config: GraphConfig, stocks: int | None) -> float:
    """Milliseconds to put a day's graph, which is in memory, into its batch: the median day."""
    split = DateSplit(train_end=panel.calendar[-20], valid_end=panel.calendar[-1])
    maker = BatchMaker(panel, DataConfig(lookback=2, horizons=(1,), split=split))
    graphs = GraphBuilder(panel, config)
    taken = []
    for day in range(FIRST_DAY, FIRST_DAY + ATTACHED_DAYS):
        batch = maker.make([day], stocks, torch.Generator().manual_seed(day))
        graphs.graph(day)
        taken.append(seconds(partial(graphs.attach, batch)))
    return 1e3 * statistics.median(taken)


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=2500)
    parser.add_argument("--stocks", type=int, default=4000)
    parser.add_argument("--every", type=int, default=5, help="days between two graphs")
    given = parser.parse_args()
    config = GraphConfig(rebuild_days=given.every)
    with tempfile.TemporaryDirectory(prefix="graph-") as folder:
        path = Path(folder) / "market.arrow"
        write_market(path, given.days, given.stocks)
        panel = Panel.open(path)
        index_s = seconds(lambda: panel.universe_TN)
        days = range(0, given.days, given.every)
        scored = [day for day in days if day >= FIRST_DAY]

        def run(graphs: GraphBuilder) -> None:
            for day in days:
                graphs.graph(day)

        build_s = seconds(lambda: run(GraphBuilder(panel, config)))
        read_s = seconds(lambda: run(GraphBuilder(panel, config)))
        size = sum(file.stat().st_size for file in path.with_suffix(".graphs").rglob("*.*"))
        sample = scored[:: max(1, len(scored) // PEER_DAYS)][:PEER_DAYS]
        plain = config.model_copy(update={"sector_neighbours": 0})
        every_kind = GraphConfig(returns="residual", **EVERY_KIND)
        ours_s, all_s, peer_s = [], [], []
        for day in sample:
            peer_s.append(seconds(partial(peer, panel, plain, day)))
            ours_s.append(seconds(partial(build_graph, panel, plain, day)))
            all_s.append(seconds(partial(build_graph, panel, every_kind, day)))
        shared = agreement(panel, plain)
        print(
            f"{given.days:,} days x {given.stocks:,} stocks, a graph every {given.every} days: "
            f"{len(days)} graphs, {os.cpu_count()} cores, {torch.get_num_threads()} threads\n"
        )
        print("| what | seconds | ms a graph |\n|---|---|---|")
        print(f"| dense index of the rows, once | {index_s:.2f} | |")
        print(
            f"| build all and write them ({size / 1e6:,.0f} MB) | {build_s:.1f} "
            f"| {1e3 * build_s / len(days):.0f} |"
        )
        print(
            f"| a second run: read all and check them | {read_s:.2f} "
            f"| {1e3 * read_s / len(days):.1f} |\n"
        )
        print(f"| one graph, median of {len(sample)} days, taking turns | ms |\n|---|---|")
        for name, taken in (
            ("correlation neighbours, numpy.cov + argpartition", peer_s),
            ("correlation neighbours, ours", ours_s),
            ("residual correlation and every kind of edge, ours", all_s),
        ):
            print(f"| {name} | {1e3 * statistics.median(taken):.0f} |")
        ratio = statistics.median(p / o for p, o in zip(peer_s, ours_s, strict=True))
        print(
            f"\nnumpy / ours = {ratio:.1f} (median of pairs); of numpy's neighbours on the "
            f"last day, ours are {shared:.2%}\n"
        )
        print("| attach a day's graph | ms, default | ms, every kind |\n|---|---|---|")
        for stocks in (1000, None):
            values = [attach_ms(panel, kind, stocks) for kind in (config, every_kind)]
            name = f"{stocks:,} drawn" if stocks else f"{given.stocks:,}"
            print(f"| {name} stocks | {values[0]:.2f} | {values[1]:.2f} |")


if __name__ == "__main__":
    main()
