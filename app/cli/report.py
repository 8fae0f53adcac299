"""What is told of a job: a row in a list, its fields in full, the metrics of its best epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.cli.table import print_table

if TYPE_CHECKING:
    from gogooku3.client import Job

MEASURES = {
    "rank_ic": "rank IC",
    "rank_ic_t": "t",
    "rank_icir": "rank ICIR",
    "ic": "IC",
    "sharpe": "Sharpe",
    "sharpe_net": "Sharpe net",
}
"""The validation metrics that are shown, and what they are called."""
METRIC = re.compile(r"valid/(\w+)(?:@(\d+))?")


def job_row(job: Job) -> list[Any]:
    """One line of a list of jobs."""
    best = (job.best or {}).get("metrics") or {}
    return [
        job.id,
        job.name,
        job.state,
        _epoch(job),
        best.get("valid/rank_ic"),
        job.dataset,
        job.created_at,
    ]


def job_fields(job: Job) -> dict[str, Any]:
    """A job in full, as name and value."""
    fields: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "dataset": job.dataset,
        "attempt": job.attempt,
        "epoch": _epoch(job),
        "labels": ", ".join(f"{key}={value}" for key, value in job.labels.items()) or None,
        "note": job.note,
        "created": job.created_at,
        "started": job.started_at,
        "finished": job.finished_at,
    }
    for key, value in (job.reason or {}).items():
        fields[f"reason {key}"] = value
    return fields


def print_best(best: Mapping[str, Any]) -> None:
    """The best epoch's validation metrics: a line for each horizon, then their weighted mean."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in (best.get("metrics") or {}).items():
        match = METRIC.fullmatch(name)
        if match and match[1] in MEASURES:
            values.setdefault(match[2] or "", {})[match[1]] = value
    if not values:
        return
    given = [key for key in MEASURES if any(key in row for row in values.values())]
    horizons = sorted((key for key in values if key), key=int) + [key for key in values if not key]
    print_table(
        [f"epoch {best['epoch']}", *(MEASURES[key] for key in given)],
        [
            [f"{horizon} d" if horizon else "mean", *(values[horizon].get(key) for key in given)]
            for horizon in horizons
        ],
    )


def _epoch(job: Job) -> str | None:
    progress = job.progress or {}
    if progress.get("share") is not None:
        return f"{progress['share']:.0%}"
    if not progress.get("epoch"):
        return None
    return f"{progress['epoch']}/{progress.get('max_epochs', '?')}"
