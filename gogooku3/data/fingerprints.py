"""Fingerprints of a cache's columns: what tells that its rows are those it was built with.

One SHA-256 for each column, each feature and each target's horizon, so that two datasets can be
compared column by column; and one over all of them and the calendar. Needs pyarrow and numpy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gogooku3.data.header import DatasetHeader
from gogooku3.errors import DatasetCorruptError

BLOCK_ROWS = 1 << 16


def of_values(values_R: NDArray[np.generic]) -> str:
    """The fingerprint of one column of numbers: of its type and its bytes."""
    digest = hashlib.sha256(f"{values_R.dtype.name}:{len(values_R)}".encode())
    digest.update(np.ascontiguousarray(values_R).data)
    return digest.hexdigest()


def of_columns(
    batch: pa.RecordBatch, members: Mapping[str, Sequence[object]], known: Mapping[str, str]
) -> dict[str, str]:
    """Fingerprints of a cache's columns by name.

    Args:
        batch: the columns.
        members: column of lists -> what its places are called (`targets` -> horizons): each place
            has a fingerprint of its own, under `column.place`.
        known: those that are known already, whose values are not read.
    """
    found: dict[str, str] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in members:
            names = [f"{name}.{member}" for member in members[name]]
            lacking = not all(member in known for member in names)
            found |= (
                dict(zip(names, _of_lists(column), strict=True))
                if lacking
                else {member: known[member] for member in names}
            )
        elif isinstance(column, pa.DictionaryArray):
            text = "\n".join(column.dictionary.to_pylist())
            whole = f"{of_values(column.indices.to_numpy())}:{text}"
            found[name] = hashlib.sha256(whole.encode()).hexdigest()
        else:
            found[name] = of_values(_plain(column))
    return found


def overall(calendar: Sequence[date], columns: Mapping[str, str]) -> str:
    """The dataset's fingerprint: of its calendar and its columns' fingerprints."""
    lines = [day.isoformat() for day in calendar]
    lines += [f"{name}:{digest}" for name, digest in sorted(columns.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def verify(header: DatasetHeader, batch: pa.RecordBatch) -> None:
    """Read every byte of a cache and compare (about 1 s per GB).

    Raises DatasetCorruptError naming the columns that are not what was built.
    """
    members = {"features": header.feature_names, "targets": header.horizons}
    found = of_columns(batch, members, {})
    changed = [name for name, digest in found.items() if header.fingerprints.get(name) != digest]
    # Names that are left over mean a header that does not belong to these rows.
    changed += [name for name in header.fingerprints if name not in found]
    if not changed and overall(header.calendar, found) != header.fingerprint:
        changed = ["calendar"]
    if changed:
        shown = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise DatasetCorruptError(
            f"the rows of {header.path} do not match their fingerprints (column {shown}): the file "
            "was changed or damaged after it was built; build it again"
        )


def _of_lists(column: pa.FixedSizeListArray) -> list[str]:
    """A fingerprint for each place of the lists, as `of_values` gives it for that column alone."""
    width = column.type.list_size
    values_RF = column.flatten().to_numpy().reshape(len(column), width)
    kind = f"{values_RF.dtype.name}:{len(column)}".encode()
    digests = [hashlib.sha256(kind) for _ in range(width)]
    for start in range(0, len(column), BLOCK_ROWS):
        block_FB = np.ascontiguousarray(values_RF[start : start + BLOCK_ROWS].T)
        for digest, values_B in zip(digests, block_FB, strict=True):
            digest.update(values_B.data)
    return [digest.hexdigest() for digest in digests]


def _plain(column: pa.Array) -> NDArray[np.generic]:
    if pa.types.is_date32(column.type):
        column = column.view(pa.int32())
    values: NDArray[np.generic] = column.to_numpy(zero_copy_only=False)
    return values
