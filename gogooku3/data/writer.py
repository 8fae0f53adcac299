"""Writes a cache: one uncompressed Arrow record batch, on disk completely or not at all.

The features may be larger than memory: they come from a file of columns and are put into rows while
they are written.

Shapes: R rows, F features, K horizons, B rows of a block.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gogooku3.data import fingerprints
from gogooku3.data.columns import ColumnFile
from gogooku3.data.header import CHECKSUM_KEY, HEADER_KEY, LAYOUT_VERSION, checksum

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Rows:
    """The columns of a cache, rows sorted by (date, code)."""

    day_R: NDArray[np.int32]
    """Position in the calendar."""
    stock_R: NDArray[np.int32]
    """Position in `codes`."""
    features: ColumnFile
    """features_RF, one column for each feature."""
    targets_RK: NDArray[np.float32]
    return_R: NDArray[np.float32]
    residual_R: NDArray[np.float32]
    beta_R: NDArray[np.float32]
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
    placeholder = rows.features.placeholder()
    batch = _record_batch(rows, calendar, placeholder)
    members = {
        "features": [feature["name"] for feature in header["features"]],
        "targets": header["horizons"],
    }
    names = [f"features.{name}" for name in members["features"]]
    known = dict(zip(names, rows.features.fingerprints, strict=True))
    columns = fingerprints.of_columns(batch, members, known)
    text = json.dumps(
        {
            "layout_version": LAYOUT_VERSION,
            **header,
            "calendar": [day.isoformat() for day in calendar],
            "rows": len(rows.day_R),
            "stocks": len(rows.codes),
            "storage": rows.features.dtype.name,
            "fingerprints": columns,
            "fingerprint": fingerprints.overall(calendar, columns),
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
            sink = _Sink(file, placeholder, rows.features)
            with pa.ipc.new_file(sink, schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


class _Sink:
    """A file that writes the features' rows where Arrow hands it their placeholder."""

    closed = False

    def __init__(self, file: BinaryIO, placeholder: pa.Buffer, features: ColumnFile) -> None:
        self._file, self._placeholder, self._features = file, placeholder, features

    def write(self, content: pa.Buffer | bytes) -> int:
        """Take Arrow's next bytes."""
        if not self._is_placeholder(content):
            return self._file.write(content)
        for block_BF in self._features.blocks():
            self._file.write(block_BF.data)
        return int(self._placeholder.size)

    def _is_placeholder(self, content: pa.Buffer | bytes) -> bool:
        if not isinstance(content, pa.Buffer) or not content.size:
            return False
        return bool(content.address == self._placeholder.address)

    def tell(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """The file belongs to who opened it."""

    def writable(self) -> bool:
        """Arrow asks."""
        return True

    def readable(self) -> bool:
        """Arrow asks."""
        return False


def _record_batch(rows: Rows, calendar: Sequence[date], placeholder: pa.Buffer) -> pa.RecordBatch:
    days_T = np.asarray([(day - EPOCH).days for day in calendar], dtype=np.int32)
    sector_R = rows.sector_N[rows.stock_R]
    coarse_R = rows.sector_coarse_N[rows.stock_R]
    return pa.record_batch(
        {
            "date": pa.array(days_T[rows.day_R]).view(pa.date32()),
            "code": _dictionary(rows.stock_R, rows.codes),
            "features": _stood_for(rows.features, placeholder),
            "targets": _fixed_lists(rows.targets_RK),
            "return_1d": pa.array(rows.return_R),
            "residual_1d": pa.array(rows.residual_R),
            "beta": pa.array(rows.beta_R),
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


def _stood_for(features: ColumnFile, placeholder: pa.Buffer) -> pa.FixedSizeListArray:
    """The features' column, its values not there yet."""
    kind, count = pa.from_numpy_dtype(features.dtype), features.rows * features.count
    flat = pa.Array.from_buffers(kind, count, [None, placeholder], null_count=0)
    return pa.FixedSizeListArray.from_arrays(flat, features.count)


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
