"""How much of the market a dataset knows, day by day. No torch, no Polars.

Shapes: D days, R rows, K horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from gogooku3.data.header import parse_header
from gogooku3.data.reader import read_batch


@dataclass(frozen=True)
class Coverage:
    """Counts of stocks, one for each day of the calendar."""

    days: list[str]
    stocks: list[int]
    """With a row on that day."""
    members: list[int]
    """In the universe on that day: scored and traded."""
    known: dict[str, list[int]]
    """Members whose forward return is known, by horizon."""


def coverage(path: Path) -> Coverage:
    """Count the stocks of each day. Raises the reader's errors for a file that is not a dataset."""
    with pa.memory_map(str(path)) as mapped:
        metadata, batch = read_batch(path, mapped.read_buffer())
        header = parse_header(path, metadata)
        date_R = batch.column("date").view(pa.int32()).to_numpy()
        member_R = batch.column("universe").to_numpy(zero_copy_only=False)
        targets = batch.column("targets")
        target_RK = targets.flatten().to_numpy().reshape(len(date_R), targets.type.list_size)
        calendar_D = np.array(header.calendar, dtype="datetime64[D]").astype(np.int32)
        day_R = np.searchsorted(calendar_D, date_R)
        length = len(calendar_D)
        member_D = np.bincount(day_R[member_R], minlength=length)
        known = {
            str(horizon): np.bincount(
                day_R[member_R & np.isfinite(target_RK[:, place])], minlength=length
            ).tolist()
            for place, horizon in enumerate(header.horizons)
        }
        return Coverage(
            days=[day.isoformat() for day in header.calendar],
            stocks=np.bincount(day_R, minlength=length).tolist(),
            members=member_D.tolist(),
            known=known,
        )
