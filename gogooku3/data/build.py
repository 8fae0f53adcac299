"""Builds a cache from a market's table. Polars and numpy; never part of the training process.

One feature is in memory at a time: the features together, and the table, may be larger than it.

Shapes: T market days, N stocks, R rows, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gogooku3.config.dataset import HORIZONS, Normalisation, Storage
from gogooku3.config.source import SourceSpec
from gogooku3.data.candidates import Candidate, candidates
from gogooku3.data.columns import ColumnFile
from gogooku3.data.header import DatasetHeader, read_header
from gogooku3.data.labels import forward_return
from gogooku3.data.normalise import normalise
from gogooku3.data.quantities import Quantities
from gogooku3.data.source import Bars, Tabular, read_bars
from gogooku3.data.universe import UniverseRule, liquidity, members
from gogooku3.data.writer import Rows, write_cache
from gogooku3.errors import SourceDataError

Progress = Callable[[str, float], None]
"""Called with what was done and the share of the whole that is done."""


def build(
    table: Tabular,
    *,
    name: str,
    out: Path,
    spec: SourceSpec | None = None,
    features: Sequence[str] | None = None,
    horizons: Sequence[int] | None = None,
    top: int | None = None,
    min_days: int = 54,
    window: int = 60,
    normalisation: Normalisation = "rank",
    storage: Storage = "float32",
    planted: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> DatasetHeader:
    """Turn a table into the cache file `out` and return its header.

    Args:
        table: daily bars, ready-made features or both, as `read_bars` takes them.
        name: what the dataset is called; kept in the header for reference.
        out: file to write, atomically.
        spec: which column of the table is what; None = the usual names.
        features: which of the features, in this order; None = all there are.
        horizons: forward horizons of the targets in market days, increasing; None = those of the
            source's ready-made targets, or HORIZONS.
        top: size of each day's universe; None = every stock that trades regularly.
        min_days: days a member must have traded on ...
        window: ... among this many last market days.
        normalisation: how features are placed in the day's distribution.
        storage: how features are stored; float16 halves the file.
        planted: what a synthetic market knows of its own signal.
        progress: told about each step.

    Raises:
        SourceDataError: the table cannot be used, a feature is not known, or no stock is ever in
            the universe.
    """
    if horizons is not None and (
        not horizons or list(horizons) != sorted(set(horizons)) or horizons[0] < 1
    ):
        raise ValueError(f"horizons must be positive and increase, not {list(horizons)}")
    rule = UniverseRule(top=top, min_days=min_days, window=window)
    tell = progress or (lambda stage, done: None)
    bars = read_bars(table, spec)
    tell("read", 0.1)
    wanted = candidates(bars, spec or SourceSpec(), features)
    horizons = horizons or sorted(bars.ready_targets) or HORIZONS
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
    place_R = np.flatnonzero(quantities.present_TN & ever_N)
    day_R, stock_R = (at.astype(np.int32) for at in np.divmod(place_R, len(bars.codes)))
    targets_RK = np.empty((len(place_R), len(horizons)), dtype=np.float32)
    for place, horizon in enumerate(horizons):
        targets_RK[:, place] = _target_TN(bars, quantities, horizon).take(place_R)
    kept_N = np.flatnonzero(ever_N)
    tell("universe and targets", 0.15)
    out.parent.mkdir(parents=True, exist_ok=True)
    with ColumnFile(len(place_R), storage, out.parent) as stored:
        missing_F = _store(wanted, quantities, normalisation, place_R, stored, tell)
        rows = Rows(
            day_R=day_R,
            stock_R=(np.cumsum(ever_N) - 1).astype(np.int32)[stock_R],
            features=stored,
            targets_RK=targets_RK,
            return_R=quantities.return_1d_TN.take(place_R).astype(np.float32),
            residual_R=quantities.residual_1d_TN.take(place_R).astype(np.float32),
            beta_R=quantities.beta_TN.take(place_R).astype(np.float32),
            liquidity_R=liquidity_TN.take(place_R).astype(np.float32),
            universe_R=universe_TN.take(place_R),
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
                {**feature.about, "missing_share": float(share)}
                for feature, share in zip(wanted, missing_F, strict=True)
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
            "report": [finding.as_json() for finding in bars.report],
            "planted": dict(planted) if planted is not None else None,
            "code_version": version("gogooku3"),
        }
        write_cache(out, rows, bars.calendar, header)
    tell("written", 1.0)
    return read_header(out)


def _target_TN(bars: Bars, quantities: Quantities, horizon: int) -> NDArray[np.float64]:
    """The source's own forward return, or that of its prices."""
    ready = bars.ready_targets.get(horizon)
    if ready is not None:
        return ready.read()
    if np.isnan(bars.close_TN).all():
        brought = ", ".join(map(str, bars.ready_targets)) or "none"
        raise SourceDataError(
            f"{horizon}-day returns need a close, which the table lacks; "
            f"ready-made targets are there for: {brought}"
        )
    return forward_return(quantities, horizon)


def _store(
    wanted: Sequence[Candidate],
    quantities: Quantities,
    normalisation: Normalisation,
    place_R: NDArray[np.int64],
    stored: ColumnFile,
    tell: Progress,
) -> NDArray[np.float64]:
    """Put the features into `stored`, one after the other, as they go into the cache.

    Returns the share of the universe's rows on which each is missing.
    """
    missing_F = np.empty(len(wanted))
    counted_TN, present_TN = quantities.counted_TN, quantities.present_TN
    for place, feature in enumerate(wanted):
        # Unknown and infinite values are told apart from known ones below, not by warnings.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            x_TN = feature.compute(quantities)
        known_TN = np.isfinite(x_TN)
        missing_F[place] = 1.0 - known_TN[quantities.universe_TN].mean()
        placed_TN: NDArray[np.floating]
        if feature.role == "market":
            placed_TN = _same_for_all(x_TN, known_TN, feature, quantities.bars)
        elif feature.normalise:
            placed_TN = normalise(x_TN, counted_TN, present_TN, normalisation)
        else:
            placed_TN = np.where(known_TN, x_TN, 0.0)
        try:
            stored.append(placed_TN.take(place_R))
        except OverflowError as error:
            raise SourceDataError(
                f"feature {feature.name} has values too large to store ({error}): "
                "normalise it, scale it, or store float32"
            ) from error
        tell(f"feature {feature.name}", 0.15 + 0.7 * (place + 1) / len(wanted))
    return missing_F


def _same_for_all(
    x_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], feature: Candidate, bars: Bars
) -> NDArray[np.float64]:
    """A market feature on every row of a day, also where only some rows hold it; NaN = unknown."""
    low_T = np.min(x_TN, axis=1, where=known_TN, initial=np.inf)
    high_T = np.max(x_TN, axis=1, where=known_TN, initial=-np.inf)
    differing = np.flatnonzero(low_T < high_T)
    if len(differing):
        day = differing[0]
        raise SourceDataError(
            f"feature {feature.name} has role market, but differs between stocks on "
            f"{bars.calendar[day]} ({low_T[day]:g} to {high_T[day]:g}): give it role stock"
        )
    value_T = np.where(np.isfinite(low_T), low_T, np.nan)
    return np.broadcast_to(value_T[:, None], x_TN.shape)


def _quality(bars: Bars, quantities: Quantities, ever_N: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "source_rows": int(quantities.present_TN.sum()),
        "source_stocks": len(bars.codes),
        "stocks_never_in_universe": int((~ever_N).sum()),
        "extreme_moves": int(quantities.extreme_TN.sum()),
    }
