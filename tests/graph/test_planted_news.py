"""The planted news travels along edges: neighbours tell what a stock's own features cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gogooku3.config import DataConfig, DateSplit, GraphConfig
from gogooku3.data.batches import BatchMaker
from gogooku3.data.build import build
from gogooku3.data.panel import Panel
from gogooku3.data.synth import synthesise
from gogooku3.graph import GraphBuilder

DAYS, CUT = 500, 350


def gain(seed: int, folder: Path) -> tuple[list[float], list[float]]:
    """Daily rank IC on the last days of ridge on own features, and of that with the neighbours'
    mean 1-day return (alone, and times the stock's own turnover) beside them."""
    market = synthesise(stocks=200, days=DAYS, seed=seed)
    panel = Panel.open(build(market.table, name="n", out=folder / f"{seed}.arrow").path)
    split = DateSplit(train_end=panel.calendar[CUT], valid_end=panel.calendar[-1])
    maker = BatchMaker(panel, DataConfig(lookback=2, horizons=(1,), split=split))
    graphs = GraphBuilder(panel, GraphConfig(neighbours=9, sector_neighbours=0))
    return_1, turnover = panel.columns_of(["return_1", "turnover_20"])

    def of_day(day: int) -> tuple[Any, Any, Any]:
        batch = graphs.attach(maker.make([day]))
        assert batch.neighbour_BNM is not None
        near_NM = batch.neighbour_BNM[0].numpy()
        own_NF = batch.x_BNTF[0, :, -1].double().numpy()
        known_NM = near_NM >= 0
        moved_N = (own_NF[near_NM, return_1] * known_NM).sum(1) / np.maximum(known_NM.sum(1), 1)
        told_N2 = np.stack([moved_N, moved_N * own_NF[:, turnover]], axis=1)
        valid_N = batch.valid_BNK[0, :, 0].numpy()
        target_N = batch.target_BNK[0, :, 0].numpy()
        return own_NF[valid_N], np.hstack([own_NF, told_N2])[valid_N], target_N[valid_N]

    sections = [of_day(day) for day in range(panel.header.first_day + 5, DAYS - 1)]
    train, valid = sections[: CUT - 60], sections[CUT - 60 :]
    daily = []
    for kind in (0, 1):
        x_RF = np.vstack([section[kind] for section in train])
        y_R = np.concatenate([section[2] for section in train])
        weight_F = np.linalg.solve(x_RF.T @ x_RF + 30 * np.eye(x_RF.shape[1]), x_RF.T @ y_R)
        ranks = [np.argsort(np.argsort(section[kind] @ weight_F)) for section in valid]
        daily.append(
            [
                float(np.corrcoef(rank_N, section[2])[0, 1])
                for rank_N, section in zip(ranks, valid, strict=True)
            ]
        )
    return daily[0], daily[1]


def test_neighbours_returns_add_to_a_stocks_own_features(tmp_path: Path) -> None:
    pairs = [gain(seed, tmp_path) for seed in (0, 1, 2)]
    own = np.concatenate([pair[0] for pair in pairs])
    difference = np.concatenate([pair[1] for pair in pairs]) - own
    error = difference.std() / np.sqrt(len(difference))
    assert own.mean() > 0.07
    assert difference.mean() > 0.005
    assert difference.mean() > 3 * error
