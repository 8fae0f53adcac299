"""Files beside the checkpoints: daily series and predictions of the best epoch, feature weights.

Shapes: D days, S stocks, K horizons.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from gogooku3.data.panel import Panel
from gogooku3.metrics.daily import SERIES
from gogooku3.outputs import (
    BATCH_ROWS,
    PREDICTIONS_FILE,
    SELECTION_FILE,
    SERIES_FILE,
)
from gogooku3.training.durable import write_durably
from gogooku3.training.evaluation import Evaluation


def series_table(panel: Panel, evaluation: Evaluation) -> pa.Table:
    """One row a day: date and `name@h` for each daily series; null = undefined."""
    series = evaluation.series
    columns: dict[str, pa.Array] = {"date": _dates(panel, evaluation.days)}
    for name in SERIES:
        for place, horizon in enumerate(series.horizons):
            values = series.values[name][:, place].numpy()
            columns[f"{name}@{horizon}"] = pa.array(values, mask=np.isnan(values))
    return pa.table(columns)


def predictions_table(panel: Panel, evaluation: Evaluation) -> pa.Table:
    """One row a scored stock and day: date, code, `score@h`, `return@h` (null = unknown)."""
    day_R, stock_R = evaluation.scored_DS.nonzero(as_tuple=True)
    days = np.asarray(evaluation.days)[day_R.numpy()]
    codes = pa.array(list(panel.codes), pa.string())
    columns: dict[str, pa.Array] = {
        "date": _dates(panel, days.tolist()),
        "code": pa.DictionaryArray.from_arrays(pa.array(stock_R.numpy().astype(np.int32)), codes),
    }
    for place, horizon in enumerate(evaluation.series.horizons):
        score_R = evaluation.score_DSK[day_R, stock_R, place].numpy()
        return_R = evaluation.return_DSK[day_R, stock_R, place].numpy()
        columns[f"score@{horizon}"] = pa.array(score_R)
        columns[f"return@{horizon}"] = pa.array(return_R, mask=np.isnan(return_R))
    return pa.table(columns)


def write_best(out_dir: Path, panel: Panel, evaluation: Evaluation, epoch: int) -> None:
    """Write the daily series and the predictions of the best epoch so far."""
    for name, table in (
        (SERIES_FILE, series_table(panel, evaluation)),
        (PREDICTIONS_FILE, predictions_table(panel, evaluation)),
    ):
        labelled = table.replace_schema_metadata({"epoch": str(epoch), "split": evaluation.split})
        write_durably(out_dir / name, partial(_write, labelled))


def write_selection(
    out_dir: Path,
    features: Sequence[str],
    selection: Sequence[Sequence[float]],
    attention: Sequence[Sequence[float]] = (),
) -> None:
    """Write each feature's mean weight per epoch, and the mean attention by age of models that
    attend to their look-back (0 days ago first)."""
    content: dict[str, Any] = {"features": list(features), "epochs": _by_epoch(selection)}
    if attention:
        content["attention"] = _by_epoch(attention)
    text = json.dumps(content, indent=1).encode()
    write_durably(out_dir / SELECTION_FILE, lambda file: file.write(text))


def _by_epoch(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    return {str(epoch): list(row) for epoch, row in enumerate(rows, start=1)}


def _write(table: pa.Table, file: BinaryIO) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)


def _dates(panel: Panel, days: Sequence[int]) -> pa.Array:
    return pa.array([panel.calendar[day] for day in days], pa.date32())
