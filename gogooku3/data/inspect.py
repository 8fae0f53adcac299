"""A dataset described for people: what `gogooku3 data inspect` shows. No torch, no Polars.

Shapes: R rows, U rows in the universe, F features, K horizons.
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
        "normalisation": header.normalisation,
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


def _matrix(batch: pa.RecordBatch, name: str) -> Any:
    column = batch.column(name)
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def _quantiles(values: Any) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {f"{share:g}": None for share in QUANTILES}
    found = np.quantile(known, QUANTILES)
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, found, strict=True)}
