"""A matrix too large for memory: written column by column, read row by row.

Shapes: R rows, F columns, B rows of a block.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gogooku3.config.dataset import Storage
from gogooku3.data.fingerprints import of_values

BLOCK_BYTES = 32 << 20
"""Rows are read in blocks of about this size."""


class ColumnFile:
    """Columns of equal length on disk, in a file without a name: it is gone with the process,
    however that ends."""

    def __init__(self, rows: int, storage: Storage, folder: Path) -> None:
        """Lay the file in `folder`, which should be on the disk of what is made from it."""
        self.rows = rows
        self.dtype = np.dtype(storage)
        self.fingerprints: list[str] = []
        """Of each column so far."""
        # Not a `with`: it lives as long as this object, which is a context manager itself.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> ColumnFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def count(self) -> int:
        """F: columns so far."""
        return len(self.fingerprints)

    def append(self, values_R: NDArray[np.floating]) -> None:
        """Add a column. Raises ValueError for a wrong length, and OverflowError for known values
        that the storage cannot hold."""
        if values_R.shape != (self.rows,):
            raise ValueError(f"a column of {self.rows} rows is wanted, not {values_R.shape}")
        with np.errstate(over="ignore"):
            stored_R = np.ascontiguousarray(values_R, dtype=self.dtype)
        if (np.isinf(stored_R) & np.isfinite(values_R)).any():
            largest = np.finfo(self.dtype).max
            raise OverflowError(f"{self.dtype} holds numbers up to {largest:g}")
        self._file.write(stored_R.data)
        self.fingerprints.append(of_values(stored_R))

    def blocks(self) -> Iterator[NDArray[np.floating]]:
        """The rows in order, as matrices [B, F]."""
        self._file.flush()
        step = max(1, BLOCK_BYTES // max(1, self.count * self.dtype.itemsize))
        for start in range(0, self.rows, step):
            size = min(step, self.rows - start)
            block_FB = np.stack([self._read(f, start, size) for f in range(self.count)])
            yield np.ascontiguousarray(block_FB.T)

    def placeholder(self) -> pa.Buffer:
        """A buffer of the matrix's size that stands for its bytes until `blocks` gives them. It
        maps the file, so it takes no memory as long as nobody reads it."""
        self._file.flush()
        return pa.py_buffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def _read(self, place: int, start: int, size: int) -> NDArray[np.floating]:
        width = self.dtype.itemsize
        found = os.pread(self._file.fileno(), size * width, (place * self.rows + start) * width)
        return np.frombuffer(found, dtype=self.dtype)
