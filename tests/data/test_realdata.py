"""The features on real prices reach what simple models are known to reach there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gogooku3.data.build import build
from gogooku3.data.panel import Panel

FOLDER = Path(os.environ.get("GOGOOKU3_REAL_DATA", "../shared/data"))
BARS = FOLDER / "nasdaq_ohlcv.parquet"


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(not BARS.is_file(), reason=f"real data: there is no {BARS}")
def test_ridge_on_nasdaq_reaches_its_known_rank_ic(
    tmp_path: Path, rank_ic: Callable[[Any, Any], float]
) -> None:
    panel = Panel.open(build(BARS, name="nasdaq", out=tmp_path / "nasdaq.arrow").path)
    x_RF, y_RK = panel.features_RF.numpy(), panel.targets_RK.numpy()
    days = len(panel.calendar)
    train_end, test_start = int(days * 0.6), int(days * 0.8)
    for place, known in ((0, 0.035), (1, 0.030)):
        square_FF, product_F = np.eye(x_RF.shape[1]), np.zeros(x_RF.shape[1])
        daily = []
        for day in range(panel.header.first_day, days - 20):
            row_N = panel.row_of_TN[day, panel.scored_stocks(day)].numpy()
            row_N = row_N[np.isfinite(y_RK[row_N, place])]
            x_NF, y_N = x_RF[row_N].astype(float), y_RK[row_N, place]
            if day < train_end - 20:
                rank_N = np.argsort(np.argsort(y_N)) / len(y_N) - 0.5
                square_FF += x_NF.T @ x_NF
                product_F += x_NF.T @ rank_N
            elif day >= test_start:
                daily.append(rank_ic(x_NF @ np.linalg.solve(square_FF, product_F), y_N))
        assert np.mean(daily) == pytest.approx(known, abs=0.012)
