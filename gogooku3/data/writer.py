"""Writes a cache: one uncompressed Arrow record batch, on disk completely or not at all.

Shapes: R rows, F features, K horizons.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gogooku3.data.header import CHECKSUM_KEY, HEADER_KEY, LAYOUT_VERSION, checksum

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Rows:
    """The columns of a cache, rows sorted by (date, code)."""

    day_R: NDArray[np.int32]
    """Position in the calendar."""
    stock_R: NDArray[np.int32]
    """Position in `codes`."""
    features_RF: NDArray[np.float32]
    targets_RK: NDArray[np.float32]
    return_R: NDArray[np.float32]
    liquidity_R: NDArray[np.float32]
    universe_R: NDArray[np.bool_]
    codes: tuple[str, ...]
    """Increasing."""
    sector_N: NDArray[np.int32]
    """Position in `sectors` of each stock; -1 = unknown."""
    sectors: tuple[str, ...]
    sector_coarse_N: NDArray[np.int32]
    sectors_coarse: tuple[str, ...]


def write_cache(
    path: Path, rows: Rows, calendar: Sequence[date], header: Mapping[str, Any]
) -> None:
    """Write a cache to `path` atomically: temporary file, fsync, rename.

    Args:
        path: the file to make; its folder is made when missing.
        rows: the columns.
        calendar: all market days.
        header: the header's fields but those known only here (fingerprint and the like).
    """
    batch = _record_batch(rows, calendar)
    text = json.dumps(
        {
            "layout_version": LAYOUT_VERSION,
            **header,
            "calendar": [day.isoformat() for day in calendar],
            "rows": len(rows.day_R),
            "stocks": len(rows.codes),
            "fingerprint": fingerprint(batch, calendar),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        allow_nan=False,
        sort_keys=True,
    ).encode()
    schema = batch.schema.with_metadata({HEADER_KEY: text, CHECKSUM_KEY: checksum(text)})
    batch = batch.replace_schema_metadata(schema.metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_file(file, schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def fingerprint(batch: pa.RecordBatch, calendar: Sequence[date]) -> str:
    """SHA-256 over the calendar and every column: its name, its type and its values' bytes.

    The columns have no nulls, so the value buffers say everything; dictionaries are part of it.
    """
    digest = hashlib.sha256(",".join(day.isoformat() for day in calendar).encode())
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        digest.update(f"{name}:{column.type}:{len(column)}".encode())
        if isinstance(column, pa.DictionaryArray):
            digest.update("\n".join(column.dictionary.to_pylist()).encode())
            column = column.indices
        while isinstance(column, pa.FixedSizeListArray):
            column = column.flatten()
        for buffer in column.buffers()[1:]:
            digest.update(memoryview(buffer)[: _value_bytes(column)])
    return digest.hexdigest()


def _value_bytes(column: pa.Array) -> int:
    """Bytes of the values without the padding at the buffer's end."""
    return int(len(column) * column.type.bit_width + 7) // 8


def _record_batch(rows: Rows, calendar: Sequence[date]) -> pa.RecordBatch:
    days_T = np.asarray([(day - EPOCH).days for day in calendar], dtype=np.int32)
    sector_R = rows.sector_N[rows.stock_R]
    coarse_R = rows.sector_coarse_N[rows.stock_R]
    return pa.record_batch(
        {
            "date": pa.array(days_T[rows.day_R]).view(pa.date32()),
            "code": _dictionary(rows.stock_R, rows.codes),
            "features": _fixed_lists(rows.features_RF),
            "targets": _fixed_lists(rows.targets_RK),
            "return_1d": pa.array(rows.return_R),
            "liquidity": pa.array(rows.liquidity_R),
            "universe": pa.array(rows.universe_R),
            # 0 is the unknown sector, so the column needs no nulls.
            "sector": _dictionary(sector_R + 1, ("", *rows.sectors)),
            "sector_coarse": _dictionary(coarse_R + 1, ("", *rows.sectors_coarse)),
        }
    )


def _dictionary(index_R: NDArray[np.int32], words: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(index_R.astype(np.int32, copy=False)), pa.array(words, pa.string())
    )


def _fixed_lists(values_RF: NDArray[np.float32]) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values_RF).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values_RF.shape[1])


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
