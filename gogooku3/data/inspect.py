"""A dataset described for people: what `gogooku3 data inspect` shows. No torch, no Polars.

Shapes: R rows, U rows in the universe, M members of a day, F features, K horizons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gogooku3.data import fingerprints
from gogooku3.data.header import DatasetHeader, read_header
from gogooku3.data.reader import read_batch

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
PROFILE_DAYS = 250
"""Days a profile looks at, evenly spread."""
SAMPLE_ROWS = 200_000
"""Quantiles are of at most so many universe rows, evenly spread over time."""


def describe(dataset: DatasetHeader | Path, *, verify: bool = False) -> dict[str, Any]:
    """Everything worth knowing of a dataset, as JSON-able values.

    Args:
        dataset: a header or the cache's file.
        verify: also read every byte and compare with the fingerprints; raises DatasetCorruptError
            naming the columns that differ. The result says under `verified` whether that was done.
    """
    header = dataset if isinstance(dataset, DatasetHeader) else read_header(dataset)
    with pa.memory_map(str(header.path)) as mapped:
        _, batch = read_batch(header.path, mapped.read_buffer())
    if verify:
        fingerprints.verify(header, batch)
    universe_R = batch.column("universe").to_numpy(zero_copy_only=False)
    row_U = np.flatnonzero(universe_R)
    sizes = np.unique_counts(batch.column("date").view(pa.int32()).to_numpy()[row_U]).counts
    sample_U = row_U[:: max(1, len(row_U) // SAMPLE_ROWS)]
    features_UF = _matrix(batch, "features")[sample_U]
    targets_UK = _matrix(batch, "targets")[row_U]
    features = [
        {
            "name": info.name,
            "role": info.role,
            "formula": info.formula,
            "lookback_days": info.lookback_days,
            "missing_share": info.missing_share,
            "family": info.family,
            "quantiles": _quantiles(features_UF[:, place]),
        }
        for place, info in enumerate(header.features)
    ]
    targets = {
        str(horizon): {
            "known_share": float(np.isfinite(targets_UK[:, place]).mean()),
            "quantiles": _quantiles(targets_UK[:, place]),
        }
        for place, horizon in enumerate(header.horizons)
    }
    return {
        "name": header.name,
        "rows": header.rows,
        "stocks": header.stocks,
        "days": len(header.calendar),
        "first_date": header.calendar[0].isoformat(),
        "last_date": header.calendar[-1].isoformat(),
        "size_bytes": header.size_bytes,
        "layout_version": header.layout_version,
        "fingerprint": header.fingerprint,
        "verified": verify,
        "created_at": header.created_at,
        "code_version": header.code_version,
        "source": dict(header.source),
        "quality": dict(header.quality),
        "report": [finding.as_json() for finding in header.report],
        "normalisation": header.normalisation,
        "storage": header.storage,
        "universe": {
            **header.universe,
            "first_date": header.calendar[header.first_day].isoformat(),
            "size": {"min": int(sizes.min()), "max": int(sizes.max())},
        },
        "sectors": len(batch.column("sector").dictionary) - 1,
        "sectors_coarse": len(batch.column("sector_coarse").dictionary) - 1,
        "horizons": list(header.horizons),
        "features": features,
        "targets": targets,
        "planted": dict(header.planted) if header.planted is not None else None,
    }


def profile(path: Path, *, days: int = PROFILE_DAYS) -> list[dict[str, Any]]:
    """Every feature's null share, quantiles and rank IC, as JSON-able values.

    The rank IC of a horizon is the mean over days of the day's Spearman correlation, over the
    members whose return is known, of the feature as it is stored with the raw forward return; a day
    on which either is constant is left out, and market features, constant on every day, have none.

    Args:
        path: the cache.
        days: at most so many days, evenly spread over those with a universe.
    """
    header = read_header(path)
    with pa.memory_map(str(path)) as mapped:
        _, batch = read_batch(path, mapped.read_buffer())
    date_R = batch.column("date").view(pa.int32()).to_numpy()
    row_U = np.flatnonzero(batch.column("universe").to_numpy(zero_copy_only=False))
    row_days = np.split(row_U, np.flatnonzero(np.diff(date_R[row_U])) + 1)
    taken = row_days[:: -(-len(row_days) // days)]
    features_RF, targets_RK = _matrix(batch, "features"), _matrix(batch, "targets")
    stored_UF = np.concatenate([features_RF[row_M] for row_M in taken]).astype(np.float64)
    ic_DFK = np.full((len(taken), features_RF.shape[1], targets_RK.shape[1]), np.nan)
    for ic_FK, row_M in zip(ic_DFK, taken, strict=True):
        for place, target_M in enumerate(targets_RK[row_M].T):
            known_M = np.isfinite(target_M)
            if known_M.sum() >= 2:
                ic_FK[:, place] = _rank_ic(features_RF[row_M[known_M]], target_M[known_M])
    found = []
    for place, info in enumerate(header.features):
        known_U = stored_UF[np.isfinite(stored_UF[:, place]), place]
        low, middle, high = np.quantile(known_U, (0.01, 0.5, 0.99)) if len(known_U) else [None] * 3
        found.append(
            {
                "name": info.name,
                "family": info.family,
                "role": info.role,
                "missing_share": info.missing_share,
                **{"p01": _number(low), "p50": _number(middle), "p99": _number(high)},
                "rank_ic": {
                    str(horizon): _mean(ic_DFK[:, place, column])
                    for column, horizon in enumerate(header.horizons)
                },
            }
        )
    return found


def _rank_ic(features_MF: Any, target_M: Any) -> Any:
    """rank_ic_F: Spearman correlations over a day; NaN where a side is constant or unknown."""
    rank_FM = _ranks(features_MF.T.astype(np.float64))
    rank_FM[~np.isfinite(features_MF).all(axis=0)] = 0.0
    wanted_M = _ranks(target_M[None].astype(np.float64))[0]
    spread_F = np.sqrt((rank_FM**2).sum(axis=1) * (wanted_M**2).sum())
    return rank_FM @ wanted_M / np.where(spread_F > 0, spread_F, np.nan)


def _ranks(x_FM: Any) -> Any:
    """Average ranks along the last axis, centred."""
    order_FM = np.argsort(x_FM, axis=1)
    sorted_FM = np.take_along_axis(x_FM, order_FM, axis=1)
    place_M = np.arange(x_FM.shape[1])
    starts_FM = np.ones(x_FM.shape, dtype=bool)
    starts_FM[:, 1:] = sorted_FM[:, 1:] != sorted_FM[:, :-1]
    # Ties take the middle of the places they cover together.
    first_FM = np.maximum.accumulate(np.where(starts_FM, place_M, 0), axis=1)
    ends_FM = np.roll(starts_FM, -1, axis=1)
    ends_FM[:, -1] = True
    far = len(place_M)
    last_FM = np.minimum.accumulate(np.where(ends_FM, place_M, far)[:, ::-1], axis=1)[:, ::-1]
    rank_FM = np.empty_like(x_FM)
    np.put_along_axis(rank_FM, order_FM, (first_FM + last_FM) / 2.0, axis=1)
    return rank_FM - (len(place_M) - 1) / 2.0


def _mean(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _matrix(batch: pa.RecordBatch, name: str) -> Any:
    column = batch.column(name)
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def _quantiles(values: Any) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {f"{share:g}": None for share in QUANTILES}
    found = np.quantile(known, QUANTILES)
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, found, strict=True)}
