"""Builds a cache from daily bars. Polars and numpy; never part of the training process.

Shapes: T market days, N stocks, R rows, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.data.features import FEATURES, FeatureSpec
from gogooku3.data.header import DatasetHeader, read_header
from gogooku3.data.labels import forward_return
from gogooku3.data.normalise import Normalisation, normalise
from gogooku3.data.quantities import Quantities
from gogooku3.data.source import Bars, read_bars
from gogooku3.data.universe import UniverseRule, liquidity, members
from gogooku3.data.writer import Rows, write_cache
from gogooku3.errors import SourceDataError

Progress = Callable[[str, float], None]
"""Called with what was done and the share of the whole that is done."""


def build(
    table: pl.DataFrame | pl.LazyFrame | Path,
    *,
    name: str,
    out: Path,
    horizons: Sequence[int] = (1, 5, 10, 20),
    top: int | None = None,
    min_days: int = 54,
    window: int = 60,
    normalisation: Normalisation = "rank",
    planted: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> DatasetHeader:
    """Turn daily bars into the cache file `out` and return its header.

    Args:
        table: daily bars as `read_bars` takes them.
        name: what the dataset is called; kept in the header for reference.
        out: file to write, atomically.
        horizons: forward horizons of the targets in market days, increasing.
        top: size of each day's universe; None = every stock that trades regularly.
        min_days: days a member must have traded on ...
        window: ... among this many last market days.
        normalisation: how features are placed in the day's distribution.
        planted: what a synthetic market knows of its own signal.
        progress: told about each step.

    Raises:
        SourceDataError: the table cannot be used, or no stock is ever in the universe.
    """
    if not horizons or list(horizons) != sorted(set(horizons)) or horizons[0] < 1:
        raise ValueError(f"horizons must be positive and increase, not {list(horizons)}")
    rule = UniverseRule(top=top, min_days=min_days, window=window)
    tell = progress or (lambda stage, done: None)
    bars = read_bars(table)
    tell("read", 0.1)
    liquidity_TN = liquidity(bars)
    universe_TN = members(bars, liquidity_TN, rule)
    quantities = Quantities(bars, liquidity_TN, universe_TN)
    ever_N = np.asarray(universe_TN.any(axis=0))
    if not ever_N.any():
        raise SourceDataError(
            f"no stock is ever in the universe: none of {len(bars.codes)} traded on {min_days} of "
            f"{window} days in a row of {len(bars.calendar)} market days"
        )
    # Rows come out sorted by (date, code), because both axes are.
    day_R, stock_R = np.nonzero(quantities.present_TN & ever_N)
    tell("universe", 0.15)
    specs = [spec for spec in FEATURES if bars.sectors or not spec.needs_sector]
    features_RF, missing_F = _features(quantities, specs, normalisation, day_R, stock_R, tell)
    targets_RK = np.empty((len(day_R), len(horizons)), dtype=np.float32)
    for place, horizon in enumerate(horizons):
        targets_RK[:, place] = forward_return(quantities, horizon)[day_R, stock_R]
    tell("targets", 0.9)
    kept_N = np.flatnonzero(ever_N)
    rows = Rows(
        day_R=day_R.astype(np.int32),
        stock_R=(np.cumsum(ever_N) - 1)[stock_R].astype(np.int32),
        features_RF=features_RF,
        targets_RK=targets_RK,
        return_R=quantities.return_1d_TN[day_R, stock_R].astype(np.float32),
        liquidity_R=liquidity_TN[day_R, stock_R].astype(np.float32),
        universe_R=universe_TN[day_R, stock_R],
        codes=tuple(bars.codes[stock] for stock in kept_N),
        sector_N=bars.sector_N[kept_N],
        sectors=bars.sectors,
        sector_coarse_N=bars.sector_coarse_N[kept_N],
        sectors_coarse=bars.sectors_coarse,
    )
    size_T = universe_TN.sum(axis=1)
    header = {
        "name": name,
        "source": dict(bars.source),
        "features": [
            {
                "name": spec.name,
                "role": spec.role,
                "formula": spec.formula,
                "lookback_days": spec.lookback_days,
                "missing_share": float(share),
            }
            for spec, share in zip(specs, missing_F, strict=True)
        ],
        "horizons": list(horizons),
        "normalisation": normalisation,
        "universe": {
            "top": top,
            "min_days": min_days,
            "window": window,
            "first_day": int(np.flatnonzero(size_T)[0]),
            "mean_size": float(size_T[size_T > 0].mean()),
            "members": int(size_T.sum()),
        },
        "quality": {**bars.quality, **_quality(bars, quantities, ever_N)},
        "planted": dict(planted) if planted is not None else None,
        "code_version": version("gogooku3"),
    }
    write_cache(out, rows, bars.calendar, header)
    tell("written", 1.0)
    return read_header(out)


def _features(
    quantities: Quantities,
    specs: Sequence[FeatureSpec],
    normalisation: Normalisation,
    day_R: NDArray[np.int64],
    stock_R: NDArray[np.int64],
    tell: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The normalised features, and the share of the universe's rows where each is missing.

    One feature at a time: only one dense matrix is held beside the result.
    """
    features_RF = np.empty((len(day_R), len(specs)), dtype=np.float32)
    missing_F = np.empty(len(specs))
    counted_TN, present_TN = quantities.counted_TN, quantities.present_TN
    for place, spec in enumerate(specs):
        # Unknown and infinite values are told apart from known ones below, not by warnings.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            x_TN = spec.compute(quantities)
        missing_F[place] = 1.0 - np.isfinite(x_TN[quantities.universe_TN]).mean()
        normal_TN = normalise(x_TN, counted_TN, present_TN, normalisation)
        features_RF[:, place] = normal_TN[day_R, stock_R]
        tell(f"feature {spec.name}", 0.15 + 0.7 * (place + 1) / len(specs))
    return features_RF, missing_F


def _quality(bars: Bars, quantities: Quantities, ever_N: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "source_rows": int(quantities.present_TN.sum()),
        "source_stocks": len(bars.codes),
        "stocks_never_in_universe": int((~ever_N).sum()),
        "extreme_moves": int(quantities.extreme_TN.sum()),
    }
