"""The files that a trainer leaves beside its checkpoints, and how they are read. No torch.

All are of the best epoch so far on the validation split, but for the feature weights, which are of
every epoch. Shapes: K horizons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

SERIES_FILE = "series-valid.arrow"
"""One row a day: date and `name@h` for each daily series; null = undefined."""
PREDICTIONS_FILE = "predictions-valid.arrow"
"""One row a scored stock and day: date, code, `score@h`, `return@h`."""
SELECTION_FILE = "selection.json"
"""Weight of each feature, by epoch."""
FILES = (SERIES_FILE, PREDICTIONS_FILE, SELECTION_FILE)
BATCH_ROWS = 1 << 16
"""Rows of a record batch in the files: what a reader holds at a time."""


class Predictions:
    """Predictions of a file, batch by batch: date, code, horizon, score, label.

    The label is the raw forward return over the horizon; null = unknown. Rows come by batch, then
    horizon, then (date, code). Memory stays that of one batch.

    Raises pyarrow.ArrowInvalid for a file that is not one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._reader = pa.ipc.open_file(file)
        names = self._reader.schema.names
        self.horizons = [int(n.partition("@")[2]) for n in names if n.startswith("score@")]
        self.schema = pa.schema(
            [
                self._reader.schema.field("date"),
                self._reader.schema.field("code"),
                pa.field("horizon", pa.int16()),
                pa.field("score", pa.float32()),
                pa.field("label", pa.float32()),
            ],
            metadata=self._reader.schema.metadata,
        )

    def batches(self, horizons: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The rows of these horizons."""
        for place in range(self._reader.num_record_batches):
            wide = self._reader.get_batch(place)
            for horizon in horizons:
                columns = [
                    wide.column("date"),
                    wide.column("code"),
                    pa.array(np.full(wide.num_rows, horizon, np.int16)),
                    wide.column(f"score@{horizon}"),
                    wide.column(f"return@{horizon}"),
                ]
                yield pa.record_batch(columns, schema=self.schema)

    def stream(self, horizons: Sequence[int]) -> Iterator[bytes]:
        """The same as the bytes of an Arrow IPC stream."""
        sink = _Sink()
        with pa.ipc.new_stream(sink, self.schema) as writer:
            yield sink.take()
            for batch in self.batches(horizons):
                writer.write_batch(batch)
                yield sink.take()
        yield sink.take()


def read_series(file: IO[bytes]) -> pa.Table:
    """The daily series of a file. Raises pyarrow.ArrowInvalid for a file that is not one."""
    return pa.ipc.open_file(file).read_all()


class _Sink:
    """Collects what an Arrow writer writes until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
