"""A tiny market that trains in a second, and what runs on it.

Shapes: T days, N stocks, R rows, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gogooku3.config import TrainConfig
from gogooku3.data.columns import ColumnFile
from gogooku3.data.writer import Rows, write_cache

FEATURES = ("signal", "noise_a", "noise_b", "slow", "noise_c")
HORIZONS = (1, 5)
DAYS, STOCKS = 90, 32


@dataclass
class TinyRows:
    """What a test may change before it is written."""

    features_RF: np.ndarray
    targets_RK: np.ndarray
    return_R: np.ndarray
    day_R: np.ndarray
    stock_R: np.ndarray
    universe_R: np.ndarray
    sectors: tuple[str, ...] = ("a", "b", "c", "d")


def tiny_rows(seed: int = 0) -> TinyRows:
    """A market in which `signal` tells part of the next days' returns; some rows are missing."""
    rng = np.random.default_rng(seed)
    features_TNF = rng.normal(size=(DAYS, STOCKS, len(FEATURES))).astype(np.float32)
    targets_TNK = np.empty((DAYS, STOCKS, len(HORIZONS)), dtype=np.float32)
    for place, horizon in enumerate(HORIZONS):
        noise_TN = rng.normal(size=(DAYS, STOCKS))
        targets_TNK[:, :, place] = 0.02 * (0.7 * features_TNF[:, :, 0] + noise_TN)
        targets_TNK[DAYS - horizon :, :, place] = np.nan
    returns_TN = 0.02 * rng.normal(size=(DAYS, STOCKS)).astype(np.float32)
    present_TN = rng.random((DAYS, STOCKS)) > 0.03
    present_TN[:, :2] = True
    universe_TN = present_TN.copy()
    universe_TN[:, -2:] = False
    day_R, stock_R = (at.astype(np.int32) for at in np.nonzero(present_TN))
    return TinyRows(
        features_RF=features_TNF[day_R, stock_R],
        targets_RK=targets_TNK[day_R, stock_R],
        return_R=returns_TN[day_R, stock_R].astype(np.float32),
        day_R=day_R,
        stock_R=stock_R,
        universe_R=universe_TN[day_R, stock_R],
    )


def write_tiny(path: Path, rows: TinyRows) -> Path:
    """Write a tiny market as a cache."""
    header: dict[str, Any] = {
        "name": path.stem,
        "source": {"file": "tiny", "size": 0, "sha256": ""},
        "features": [
            {
                "name": name,
                "role": "stock",
                "formula": name,
                "lookback_days": 1,
                "missing_share": 0.0,
                "family": "price",
            }
            for name in FEATURES
        ],
        "horizons": list(HORIZONS),
        "normalisation": "rank",
        "universe": {"top": None, "min_days": 1, "window": 1, "first_day": 0},
        "planted": None,
        "quality": {},
        "report": [],
        "code_version": "0",
    }
    sector_N = (np.arange(STOCKS) % 4).astype(np.int32)
    beta_R = (0.5 + rows.stock_R / STOCKS).astype(np.float32)
    market_T = (np.bincount(rows.day_R, rows.return_R) / np.bincount(rows.day_R)).astype("f4")
    with ColumnFile(len(rows.day_R), "float32", path.parent) as features:
        for place in range(len(FEATURES)):
            features.append(rows.features_RF[:, place])
        columns = Rows(
            day_R=rows.day_R,
            stock_R=rows.stock_R,
            features=features,
            targets_RK=rows.targets_RK,
            return_R=rows.return_R,
            residual_R=rows.return_R - beta_R * market_T[rows.day_R],
            beta_R=beta_R,
            liquidity_R=(1e6 * (1 + rows.stock_R)).astype(np.float32),
            universe_R=rows.universe_R,
            codes=tuple(f"S{number:03d}" for number in range(STOCKS)),
            sector_N=sector_N,
            sectors=rows.sectors,
            sector_coarse_N=(sector_N // 2).astype(np.int32),
            sectors_coarse=("ab", "cd"),
        )
        write_cache(path, columns, CALENDAR, header)
    return path


CALENDAR = [date(2020, 1, 1) + timedelta(days=day) for day in range(DAYS)]


@pytest.fixture(scope="session")
def calendar() -> list[date]:
    """The tiny market's days."""
    return CALENDAR


@pytest.fixture(scope="session")
def make_cache() -> Callable[[Path, TinyRows], Path]:
    """Writes a changed tiny market."""
    return write_tiny


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., TinyRows]:
    """The tiny market's rows, to change."""
    return tiny_rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny market's cache. Do not change it."""
    return write_tiny(tmp_path_factory.mktemp("caches") / "tiny.arrow", tiny_rows())


@pytest.fixture(scope="session")
def make_config() -> Callable[..., TrainConfig]:
    """A configuration for the tiny market; keyword arguments replace its parts."""

    def make(**changes: Any) -> TrainConfig:
        given: dict[str, Any] = {
            "seed": 1,
            "max_epochs": 2,
            "data": {
                "lookback": 6,
                "horizons": HORIZONS,
                "split": {
                    "train_end": CALENDAR[55],
                    "valid_end": CALENDAR[80],
                    "embargo_days": 2,
                },
            },
            "model": {
                "hidden_size": 8,
                "dropout": 0.1,
                "fan": {"top_k": 1},
                "selection": {"rank": 2},
                "encoder": {"heads": 2},
                "gat": {"layers": 1, "dropout": 0.1},
                "graph": {"window": 10, "neighbours": 3, "sector_neighbours": 2},
            },
            "optimizer": {"lr": 0.01},
            "batch": {"days_per_step": 8},
            "evaluation": {"train_days": 4},
        }
        for name, value in changes.items():
            before = given.get(name)
            merge = isinstance(value, dict) and isinstance(before, dict) and "kind" not in value
            given[name] = {**before, **value} if merge else value
        return TrainConfig.model_validate(given)

    return make
